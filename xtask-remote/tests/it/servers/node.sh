# Holds a node's namespaces until whoever started it is gone, and leaves nothing of the node behind.
# Arguments: the folder of the node's files, and the name of its control group. Standard input closes when the test ends, however it ends.
trap '' INT
folder=$1 group=$2

# The first process inside: without it, the kernel ends all others. It notes its number on the machine before it sees only its own.
unshare --net --mount --pid --fork --kill-child sh -c '
  read -r number _ </proc/self/stat
  mount -t proc proc /proc
  echo "$number" >"$1/number.new" && mv "$1/number.new" "$1/number"
  read -r _' sh "$folder"

for groups in /sys/fs/cgroup /sys/fs/cgroup/*; do
  [ ! -d "$groups/$group" ] || find "$groups/$group" -depth -type d -exec rmdir {} \;
done
cd /
rm -rf "$folder"
