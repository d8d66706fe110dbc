"""What a master process looks after."""
