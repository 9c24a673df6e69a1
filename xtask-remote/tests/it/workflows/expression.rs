//! GitHub's expressions, as its documentation describes them ("Evaluate expressions in workflows and actions"): what our workflows use of
//! them, and no more. Something else is an error of the test rather than a guess.

use std::iter::Peekable;
use std::str::Chars;

/// What an expression becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
}

/// What an expression may ask for.
pub trait Context {
    /// A value by its whole name.
    fn named(&self, name: &str) -> Value;
    /// What a function gives that depends on the run: `success`, `hashFiles`.
    fn call(&self, function: &str, given: &[Value]) -> Value;
}

/// The value of an expression, without the braces around it.
pub fn evaluate(text: &str, context: &dyn Context) -> Value {
    let mut parser = Parser { rest: tokens(text).into_iter().peekable(), context, text };
    let value = parser.either();
    assert!(parser.rest.peek().is_none(), "the tests do not understand the expression `{text}`");
    value
}

/// Whether a condition says something of how the steps or jobs before it ended. Where none does, `success()` is meant, too.
pub fn looks_at_status(text: &str) -> bool {
    const STATUS: [&str; 4] = ["success", "failure", "cancelled", "always"];
    let tokens = tokens(text);
    tokens.windows(2).any(|two| {
        matches!(two, [Token::Name(name), Token::Sign("(")] if STATUS.iter().any(|known| name.eq_ignore_ascii_case(known)))
    })
}

impl Value {
    pub fn is_true(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(truth) => *truth,
            Value::Number(number) => *number != 0.0 && !number.is_nan(),
            Value::Text(text) => !text.is_empty(),
        }
    }

    pub fn text(&self) -> String {
        match self {
            Value::Null => String::new(),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text.clone(),
        }
    }

    fn number(&self) -> f64 {
        match self {
            Value::Null => 0.0,
            Value::Bool(truth) => f64::from(u8::from(*truth)),
            Value::Number(number) => *number,
            Value::Text(text) if text.is_empty() => 0.0,
            Value::Text(text) => text.trim().parse().unwrap_or(f64::NAN),
        }
    }

    /// GitHub compares texts without regard to their case, and what differs in its type as numbers.
    #[expect(clippy::float_cmp, reason = "as GitHub does")]
    fn equals(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Text(one), Value::Text(other)) => one.to_lowercase() == other.to_lowercase(),
            (one, other) => one.number() == other.number(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Sign(&'static str),
    Name(String),
    Value(Value),
}

fn tokens(text: &str) -> Vec<Token> {
    const SIGNS: [&str; 12] = ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", ","];
    let (mut found, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let token = if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            rest = &rest[sign.len()..];
            Token::Sign(sign)
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            let mut characters = quoted.chars().peekable();
            let literal = literal(&mut characters);
            let left: usize = characters.map(char::len_utf8).sum();
            rest = &rest[rest.len() - left..];
            Token::Value(Value::Text(literal))
        } else {
            let is_part = |character: char| character.is_alphanumeric() || "._-*".contains(character);
            let end = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
            assert!(end > 0, "the tests do not understand `{rest}`");
            let word = &rest[..end];
            rest = &rest[end..];
            match word {
                "true" | "false" => Token::Value(Value::Bool(word == "true")),
                "null" => Token::Value(Value::Null),
                _ => word
                    .parse()
                    .map_or_else(|_| Token::Name(word.to_owned()), |number| Token::Value(Value::Number(number))),
            }
        };
        found.push(token);
        rest = rest.trim_start();
    }
    found
}

/// A text up to its quote; two quotes are one.
fn literal(characters: &mut Peekable<Chars<'_>>) -> String {
    let mut literal = String::new();
    while let Some(character) = characters.next() {
        if character == '\'' && characters.next_if_eq(&'\'').is_none() {
            return literal;
        }
        literal.push(character);
    }
    panic!("`'{literal}` has no end");
}

struct Parser<'c> {
    rest: Peekable<std::vec::IntoIter<Token>>,
    context: &'c dyn Context,
    text: &'c str,
}

impl Parser<'_> {
    fn takes(&mut self, sign: &'static str) -> bool {
        self.rest.next_if_eq(&Token::Sign(sign)).is_some()
    }

    fn either(&mut self) -> Value {
        let mut value = self.both();
        while self.takes("||") {
            let other = self.both();
            value = if value.is_true() { value } else { other };
        }
        value
    }

    fn both(&mut self) -> Value {
        let mut value = self.comparison();
        while self.takes("&&") {
            let other = self.comparison();
            value = if value.is_true() { other } else { value };
        }
        value
    }

    fn comparison(&mut self) -> Value {
        let mut value = self.negation();
        loop {
            value = if self.takes("==") {
                Value::Bool(value.equals(&self.negation()))
            } else if self.takes("!=") {
                Value::Bool(!value.equals(&self.negation()))
            } else {
                return value;
            };
        }
    }

    fn negation(&mut self) -> Value {
        if self.takes("!") {
            return Value::Bool(!self.negation().is_true());
        }
        self.single()
    }

    fn single(&mut self) -> Value {
        if self.takes("(") {
            let value = self.either();
            assert!(self.takes(")"), "a bracket is open in `{}`", self.text);
            return value;
        }
        match self.rest.next() {
            Some(Token::Value(value)) => value,
            Some(Token::Name(name)) if self.takes("(") => {
                let given = self.given();
                self.call(&name, &given)
            }
            Some(Token::Name(name)) => self.context.named(&name),
            other => panic!("the tests do not understand {other:?} in `{}`", self.text),
        }
    }

    fn given(&mut self) -> Vec<Value> {
        let mut given = Vec::new();
        while !self.takes(")") {
            given.push(self.either());
            self.takes(",");
        }
        given
    }

    fn call(&self, function: &str, given: &[Value]) -> Value {
        let texts: Vec<String> = given.iter().map(|value| value.text().to_lowercase()).collect();
        match (function, texts.as_slice()) {
            ("contains", [whole, part]) => Value::Bool(whole.contains(part.as_str())),
            ("startsWith", [whole, part]) => Value::Bool(whole.starts_with(part.as_str())),
            ("endsWith", [whole, part]) => Value::Bool(whole.ends_with(part.as_str())),
            _ => self.context.call(function, given),
        }
    }
}
