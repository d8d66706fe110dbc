"""The examples of docs/configuration.md: whole files. The tests load each of them."""

from __future__ import annotations

#: Title and file.
EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "Two applications behind one address",
        """\
[listener:web]
bind = :8080, [::]:8080
upstream = site

[upstream:site]
backends = http://127.0.0.1:8000

[upstream:api]
backends =
    http://10.0.0.11:8000 weight=3
    http://10.0.0.12:8000
    http://10.0.1.11:8000 backup
health-path = /healthz

[route:api]
path = /api/
upstream = api
strip-prefix = /api
request-timeout = 5s
max-body = 1MiB
""",
    ),
    (
        "By host, with redirects",
        """\
[listener:web]
bind = 0.0.0.0:80

[upstream:shop]
backends = unix:/run/shop.sock

[route:shop]
host = shop.example.com, *.shop.example.com
upstream = shop

[route:moved]
host = example.com, www.example.com
redirect = https://shop.example.com
redirect-status = 301

[route:nothing-else]
status = 404
""",
    ),
    (
        "Behind a load balancer, with metrics and a JSON log",
        """\
[greenproxy]
access-log = ${HOME}/access.log
access-log-format = json
statsd = 127.0.0.1:8125

[listener:web]
bind = 10.0.0.5:8080
trusted-proxies = 10.0.0.0/24
middleware = request-id, security
idle-timeout = 75s                  # longer than the load balancer's, so that it closes first

[upstream:shop]
backends =
    http://shop-1.internal:8000 name=one
    http://shop-2.internal:8000 name=two
health-path = /healthz
health-interval = 5s
retry-on = connect, reset, 503

[middleware:security]
type = headers
response-set =
    Strict-Transport-Security: max-age=31536000
    X-Content-Type-Options: nosniff
response-remove = Server, X-Powered-By
""",
    ),
    (
        "A canary for those who ask",
        """\
[listener:web]
bind = :8080
upstream = stable

[upstream:stable]
backends =
    http://10.0.0.11:8000
    http://10.0.0.12:8000

[upstream:canary]
backends = http://10.0.0.20:8000

[route:canary]
header = X-Canary: 1
upstream = canary
""",
    ),
)
