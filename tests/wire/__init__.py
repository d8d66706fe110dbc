"""Raw requests and the answer expected of the proxy, over real sockets."""
