"""The house in which the corpus is run: one proxy with a listener for each kind of case, one backend that echoes."""

from __future__ import annotations

# The limits of the listener `small`, which `requests/limits.py` goes up to.
MAX_HEAD_BYTES = 400
MAX_FIELDS = 8
MAX_URI_BYTES = 100
MAX_BODY_BYTES = 50

INI = f"""
[listener:web]
bind = 127.0.0.1:0

[listener:small]
bind = 127.0.0.1:0
max-header-size = {MAX_HEAD_BYTES}
max-headers = {MAX_FIELDS}
max-uri = {MAX_URI_BYTES}
max-body = {MAX_BODY_BYTES}

[listener:routed]
bind = 127.0.0.1:0

[listener:trusting]
bind = 127.0.0.1:0
trusted-proxies = 127.0.0.0/8

[listener:touched]
bind = 127.0.0.1:0
middleware = request-id

[route:closed]
listener = routed
path = /admin/
status = 403

[upstream:shop]
backends = {{backend}}
health-interval = 0
max-fails = 0
"""
