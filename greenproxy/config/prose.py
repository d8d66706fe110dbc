"""The hand-written parts of docs/configuration.md, section by section. The tables come from the settings."""

from __future__ import annotations

HEAD = """\
# Configuration

<!-- Written by `python -m greenproxy.config.reference`: change greenproxy/config/prose.py or settings.py instead. -->

`greenproxy -c greenproxy.ini` reads one file. `greenproxy -c greenproxy.ini --check` only checks it and prints every
mistake at once. A small file is enough to begin with:

```ini
[listener:web]
bind = :8080

[upstream:shop]
backends =
    http://10.0.0.11:8000
    http://10.0.0.12:8000
```

Without any file, `greenproxy --bind :8080 --backend http://10.0.0.11:8000 --backend http://10.0.0.12:8000` does the
same: it is one listener `web` and one upstream `default`.

Contents: [syntax](#syntax) · [values](#values) · [`[greenproxy]`](#greenproxy) · [`[listener:NAME]`](#listenername) ·
[`[upstream:NAME]`](#upstreamname) · [`[route:NAME]`](#routename) · [`[middleware:NAME]`](#middlewarename) ·
[`[demo:NAME]`](#demoname) · [mistakes](#mistakes) · [examples](#examples) · [later versions](#later-versions)
"""

SYNTAX = """\
## Syntax

The file is UTF-8 text in sections of `key = value` lines.

- A section begins with `[greenproxy]` or `[kind:name]`. Names have letters, digits, `-`, `_` and `.`. Sections may stand
  in any order; none may stand there twice, and no key twice in a section. Keys and names keep their case.
- A line that is indented deeper than its key continues the key's value. Empty lines and comments in between do not end it.
- `#` begins a comment at the start of a line or after white space; `\\#` is just a hash. `;` begins a comment only at the
  start of a line.
- `%` and quotes are ordinary characters: values are written without quotes.
- `${NAME}` is the environment variable NAME. One that is not set is a mistake. `\\${NAME}` is just that. Comments are
  removed first, so a variable may contain a `#`; lists are split afterwards, so it may contain a whole list.
- Relative paths count from the folder of the file (in flags and environment variables: from the working directory).
"""

VALUES = """\
## Values

| value | written |
|---|---|
| duration | `250ms`, `5s`, `2m`, `1h`; a bare number is seconds; at most a year |
| size | `512`, `64KiB`, `1MiB`, `2GiB`; a bare number is bytes |
| number | `64` |
| on, off | `on`, `off` |
| list, names, addresses | separated by commas, or one indented line each |
| lines, paths | one indented line each; commas do not separate. The first may stand behind the `=` |
| address | `127.0.0.1:8080`, `[::1]:8080`, `:8080` (every IPv4 address), `unix:/run/greenproxy.sock` |
| path | relative to the folder of the file, unless it is the path of a request |

`0` is no limit. The exceptions: `retries`, `pool-queue` and `response-buffer` (none), `health-interval` (no checks), and
`pool-size`, `workers`, `health-rise` and `health-fall`, which are at least 1. A key with nothing behind the `=` stands for its
default where the default is nothing. With port 0 a listener takes a free port, and the log tells which.
"""

GREENPROXY = """\
## [greenproxy]

One process with its workers. Each of these keys is also a flag and an environment variable: `worker-timeout` is
`--worker-timeout` and `GREENPROXY_WORKER_TIMEOUT`. A flag beats the environment, the environment beats the file, the file
beats the default. An empty variable counts as not set. `GREENPROXY_CONFIG` is `--config`. Any other
`GREENPROXY_...` that the file does not use in a `${...}` is told in a warning at the start: it is likely a slip of the pen.
"""

GREENPROXY_MORE = """\
`admin` is a listener for operators: health, readiness, and what workers, upstreams and backends do; [Admin](admin.md) tells
all of it. It is off by default. On an address that only this machine can reach (127.0.0.1, [::1], localhost, a Unix socket) it
needs no `admin-token`; on any other address it does, and a token without `admin` is a mistake. Whoever asks sends it as
`Authorization: Bearer TOKEN`. Better than in the file it stands in `GREENPROXY_ADMIN_TOKEN`, or as `${NAME}`; a flag is seen by
everybody who can list processes.
"""

LISTENER = """\
## [listener:NAME]

One front door. Every listener is an HTTP/1.1 server, with or without TLS; requests that no route takes go to its `upstream`.
Two listeners cannot share an address.
"""

LISTENER_MORE = """\
`trusted-proxies` are the load balancers in front of greenproxy. From anybody else, X-Forwarded-*, X-Real-IP and Forwarded
are dropped and set anew, however they are spelt. So is what clients say under X-SSL-Client-*.

With `tls-certificate` the listener speaks TLS 1.2 and 1.3, and HTTP/1.1 in it. With several certificates the name that a client
asks for decides (SNI); the first serves whoever asks for no name, or for none of theirs. A file may hold the whole chain, the
server's own certificate first, and its key too. `--check` finds files that cannot be read, keys that do not belong to their
certificates or want a password, and certificates that have expired or are not valid yet; with the last two greenproxy starts all
the same, and warns. More in [tls.md](tls.md).
"""

UPSTREAM = """\
## [upstream:NAME]

A named group of backends. The keys marked with → can be changed [per route](#routename).
"""

UPSTREAM_MORE = """\
A line of `backends` is `http://host`, `http://host:port` or `unix:/path`, and after it any of

| | |
|---|---|
| `weight=N` | its share of the requests, 1 to 1000; the default is 1 |
| `name=NAME` | what logs and metrics call it; the default is host:port |
| `backup` | it gets requests only while no other backend is available |

A backend that is out of service, for `health-fall` failed checks or `max-fails` failed requests, gets no requests; checks
bring it back, and after `fail-timeout` one request may try it. A host that does not resolve is a backend that is down.

What counts for `max-fails` is a connection that is refused, fails or takes longer than `connect-timeout`, one that the backend
resets or closes before the end of its answer, an answer that is not valid HTTP, `response-timeout` and `read-timeout`; so many
in a row, with no answer in between. A 5xx is an answer. `request-timeout` does not count, nor what clients do, nor that a kept
connection turned out to be closed. The only backend of an upstream is taken out as well; `max-fails = 0` keeps it in.

A client that reads slowly does not keep a backend for that: what it has not read yet waits in memory, up to `response-buffer`
for each response, beside what the kernel holds. A longer response keeps its backend until the client has read so far.

Clients cannot take all of `pool-size` by being slow. While requests wait for a connection, those of the slowest clients are
taken away: of clients that kept their backend waiting for half a second or more, less a second for every 1000 bytes that they
moved, because they do not send their request body (408, `body-timeout`) or do not read their response (it is cut,
`send-timeout`). While nobody waits, only the timeouts count. Besides, an eighth of the connections is kept for requests that
have come in whole: when uploads hold all others, the next upload is read into memory first, up to 64 KiB, and takes a
connection when it is complete, or when one of them ends (at most `pool-queue-timeout` later; then 503). For those that wait
so, only slow uploads are cut.

`retry-on` names what may be tried again, on another backend where there is one. `connect`: no connection was made; any
method. `reset`: the connection ended without a byte of an answer; GET, HEAD, OPTIONS, TRACE, PUT and DELETE, other methods
only if nothing of the request had been sent. `timeout` (response-timeout), `502`, `503` and `504`: those same methods.
Nothing is tried again once a byte of an answer went to the client, or when a part of the request body is gone. The only
backend is asked again, once and on a fresh connection, when one that was kept turned out to be closed. The access log has the
reason of each retry, and so have the [metrics](observability.md#retries).
"""

ROUTE = """\
## [route:NAME]

Which requests go where. A route has conditions and one answer: `upstream`, `redirect` or `status`.
"""

ROUTE_MORE = """\
These keys of an [upstream](#upstreamname) may stand in a route, and then count for it:

{overrides}

A request belongs to the most specific route of which every condition holds, whatever the order in the file:

1. an exact host before a wildcard (the longer one first) before any host;
2. then an exact path, the longest prefix, regular expressions in the order of the file, any path;
3. then more conditions (`method`, `header`) before fewer.

Two routes with equal host and path whose conditions do not exclude each other are a mistake. `*.example.com` is not
`example.com`; the port of Host plays no part. The prefix `/api/` also takes `/api`, and `/api` without the slash at its end
takes `/apix` too. A regular expression may match anywhere in the path, unless it has anchors. Routes see the decoded path, with
dots and double slashes resolved; backends get what the client sent, without `strip-prefix`, of which at least `/` is left.
A `strip-prefix` with which no `path` of the route can begin is a mistake; where it does not fit, nothing is stripped.

A request that no route takes goes to the listener's upstream; without one it is answered with 404, or with 405 if a route
failed in its method alone. `redirect = https://example.com` appends path and query of the request,
`redirect = https://example.com/` does not. `$host` stands for the host that the request asks for, without its port:
`redirect = https://$host`, also with a port or a path behind it. It is the client's own word, so a client can be sent only where
it says that it is; give such a route a `host` all the same if a cache in front might keep the answer for others.
"""

MIDDLEWARE = """\
## [middleware:NAME]

What happens to requests and responses on their way, in the order in which listeners and routes name it: outermost first,
the listener's before the route's.
"""

MIDDLEWARE_MORE = """\
### request-id

Gives every request an id, in a field of the request, in the same field of the response, and in the access log. It needs
no section: `middleware = request-id`.

{request_id}

### headers

Changes the fields of requests and responses. On each side it removes first, then sets, then adds. Fields that belong to
the connection (Content-Length, Transfer-Encoding and the like) cannot be changed.

{headers}

### Your own

`type = package.module:callable` is a Python function that takes the request and what comes next, and returns a response:

```python
# edge.py, next to the configuration file
from greenproxy import Handler, Request, Response


def add_server_name(request: Request, call_next: Handler) -> Response:
    response = call_next(request)
    response.headers["X-Served-By"] = "edge-1"
    return response
```

```ini
[middleware:server-name]
type = edge:add_server_name
```

With other keys in the section, the object is called once per worker with them as keyword strings, `-` turned into `_`, and
returns the middleware:

```ini
[middleware:server-name]
type = edge:server_name
timeout = 1s
field-name = X-Served-By
```

Modules are looked for in the folder of the configuration file, then in the working directory, then where Python looks.
Before a configuration is used they are imported in a child process; what they raise there is a mistake in the configuration.
"""

DEMO = """\
## [demo:NAME]

A small JSON backend, a process of its own, to try things with. It names itself, waits with `?delay=250ms`, answers with
`?status=503`, is healthy at `/healthz`, and stays dead when it is killed. `greenproxy demo --bind 127.0.0.1:9001 --name blue`
starts one by hand.
"""

MISTAKES = """\
## Mistakes

All of them are printed at once, to standard error, and nothing is started; the exit status is 2.

```text
greenproxy.ini:4: [greenproxy] worker: unknown key (did you mean workers?)
greenproxy.ini:9: [listener:web] upstream: there is no [upstream:shpo] (did you mean shop?)
--log-level: unknown value 'warn': debug, info, warning, error or critical (did you mean warning?)
```

Files that are named must exist, or the folder in which they are to be written; user-written middleware must be importable
and callable. A host that does not resolve is no mistake.
"""

LATER = """\
## Later versions

These names are settled, and refused as `not available in this version`:
"""
