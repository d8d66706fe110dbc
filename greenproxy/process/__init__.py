"""What a master process looks after: open files, listening sockets, child processes."""
