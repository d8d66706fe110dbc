"""greenproxy: the proxy and load balancer for Python teams.

What middleware and applications import stands here; everything else is internal.
"""

from greenproxy.messages import Handler, Headers, Middleware, Request, Response

__version__ = "0.1.0"
__all__ = ["Handler", "Headers", "Middleware", "Request", "Response", "__version__"]
