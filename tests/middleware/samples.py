"""Middleware as users write it, to be loaded by name."""

from __future__ import annotations

from greenproxy import Handler, Request, Response

NOT_CALLABLE = 3


def plain(request: Request, call_next: Handler) -> Response:
    """Hand on what comes."""
    return call_next(request)


class Greeting:
    """A middleware with settings, made once per worker."""

    def __init__(self, text: str, header_name: str = "X-Greeting") -> None:
        if not text:
            raise ValueError("text is empty")
        self.text = text
        self.header_name = header_name

    def __call__(self, request: Request, call_next: Handler) -> Response:
        """Greet."""
        response = call_next(request)
        response.headers[self.header_name] = self.text
        return response

    @staticmethod
    def loud(request: Request, call_next: Handler) -> Response:
        """Greet loudly."""
        return Greeting("HELLO")(request, call_next)


def forgets_to_return(**_settings: str) -> None:
    """Return nothing, where a middleware is expected."""
