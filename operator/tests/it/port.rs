//! A port of our own, which nobody else is given as long as we have it.
//!
//! One that was found free and let go may be somebody else's by the time a server binds it. Ours stays bound, by a socket that
//! never listens and lets others bind its address, as servers' sockets do (`SO_REUSEADDR`, socket(7)). So the server that is told
//! of it may come and go, whoever asks for any port gets another one, and so does every connection.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

pub(crate) struct Port {
    number: u16,
    _socket: TcpSocket,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket.set_reuseaddr(true).expect("the socket is new");
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("there are free ports");
        let number = socket.local_addr().expect("it is bound").port();
        Self { number, _socket: socket }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

mod tests {
    #[test]
    fn a_port_of_ours_is_for_any_server_that_is_told_of_it_and_for_one_at_a_time() {
        use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

        let port = super::Port::reserve();
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port.number()));
        assert!(connect().is_err(), "nobody listens yet");
        let unwilling_to_share = super::TcpSocket::new_v4().unwrap();
        assert!(unwilling_to_share.bind((Ipv4Addr::LOCALHOST, port.number()).into()).is_err(), "it is not held");
        for _ in 0..2 {
            let server = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port.number())).unwrap();
            assert!(connect().is_ok());
            assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).is_err());
            drop(server);
        }
    }
}
