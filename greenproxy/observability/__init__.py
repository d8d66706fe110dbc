"""What happened: metrics, logs, the board that workers share."""
