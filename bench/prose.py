"""What docs/performance.md says in words that no figure changes."""

INTRODUCTION = """\
What greenproxy costs, beside nginx, HAProxy, Caddy and two Python peers: the same load, on the same machine, in turns.
Measured on {date}, on {cores} cores ({processor}, {memory_gib} GiB, {kernel}). Try it yourself:

    ./scripts/bench --quick          # a minute: greenproxy, nginx, HAProxy, in five scenarios, and idle connections
    ./scripts/bench                  # everything on this page; {whole}: up to {default_rounds} rounds of {default_seconds} s
    ./scripts/bench --help

As root it installs what is missing with apt, without starting any service, and Python peers with pip into a folder of
their own, unless it is told `--no-install`; what it lacks it names, and goes on without.

What is compared is **processor time per request**, of user and system, as a multiple of nginx's in the same round: one
that uses half of it serves twice as many requests with the same cores. The median of the rounds counts. This page was
made with {made}.{busy}
"""

BUSY = """

**Provisional:** the machine was busy with other things (load {load_before}). Processor times may be off
by tens of percent then, their ratios too, and latency says nothing."""

NOTES = {
    "cost": """\
The column of nginx is processor time, the median of the rounds; the others are multiples of it, the median of the
ratios within rounds, as everywhere on this page. In brackets is the middle half of the ratios, or all of them, from the
lowest to the highest, where there were fewer than four rounds. 1.00 is as dear as nginx, less is cheaper. nginx reads
bodies ahead, by default into files from 16 KiB (requests) or 64 KiB (responses) on, and that is what it loses by with
long ones. `nginx large buffers` keeps them in memory, 2 MiB for each request that goes on: `client_body_buffer_size 2m`,
`proxy_buffer_size 64k`, `proxy_buffers 32 64k`, `proxy_busy_buffers_size 512k`, `proxy_max_temp_file_size 0`.
""",
    "own": """\
Each row beside a greenproxy, or an nginx, of the second kind in the same rounds. Logs are an access log in a file, and
for greenproxy statsd too. The middleware is one function that sets a header field. Two workers have two cores; on a
machine with fewer than four the second one is also that of the load. All this is as fast as it goes, where nobody ever
waits; at a fixed rate, with pauses, other figures hold, such as those in [Operations](operations.md).
""",
    "targets": """\
greenproxy remembers what it has read, and in most rows of this page it is asked for one thing again and again. A target
that was not asked for lately (`asked for other targets`: 10,000 in turn, more than it remembers) costs it {ratio:.2f} x.
""",
    "latency": """\
50 %, 99 % and 99.9 % of the answers came within these times. h2load asks at a fixed rate, all connections at the same
instants, so that requests come in bursts as large as the number of connections. Who answers less than 95 % of the rate
has missed it, and has no figure here.
""",
    "memory": """\
Memory in user space (Pss) that one more idle connection takes, after it was served once; mitmproxy holds a tenth as
many. The kernel's own, a few KiB for each socket, is the same for all.
""",
    "growth": """\
Multiples of the same proxy's processor time with {bases}. Of the connections, 500 at
most are active; the others are open and idle. Backends are checked as by default. With one route as with 10,000 the
requests ask for the same 10,000 targets in turn, of which every route has an equal share: what grows is only the number
of routes.
""",
    "tls": """\
The load speaks nothing older than TLS 1.3. Before the rounds a client like it asks each proxy twice: this is the version
that was agreed on, and whether the second connection resumed the session of the first. To the origin nobody speaks TLS.
""",
    "failures": """\
A wrong answer, a broken connection, or a proxy that did not do what was measured makes the whole cell a failure. A rate
missed is none of these: the answers were right, but on this machine too few per second.
""",
}

HOW = """\
- Everybody has one worker on one core; the origin and the load are on others. The origin is an nginx that answers from
  memory or from cached files, on two addresses.
- Rounds, and seconds of load in each: {lasted}.
- All are configured as one would for this load: connections to the origin are kept (512 at least), idle clients may
  stay for ten minutes, the client's address is passed on, nothing is logged; buffers are as they are by default, save
  where the table says otherwise. greenproxy has everything on that is on by
  default: active and passive health checks, metrics, retries, strict parsing. HAProxy checks its backends too; nginx,
  aiohttp and mitmproxy do not.
- `aiohttp` is the reverse proxy that many Python teams write themselves, on aiohttp and uvloop
  (`bench/peer_aiohttp.py`): the fastest that one gets in Python without more ado. `mitmproxy`, in reverse mode, is the
  Python proxy that most have installed; it is made for looking at traffic, not for carrying it, and so stands in few
  rows.
- TLS: one suite, AES-128-GCM with X25519 and a certificate on P-256, because the load offers nothing else. In
  `tls-churn` wrk resumes sessions where it may; in `tls-new` every handshake is a full one.
- Cells that lose a request are failures. The origin counts too: a proxy that did not pass requests on, or did not keep
  its connections to the origin, would be one.
- On a machine that is not quiet wall time says little, and processor time still swings by some percent with what the
  neighbours do to caches; hence rounds and ratios. Requests per second are in [performance.json](performance.json),
  with everything else.
- Versions: {versions}.
- The Python of greenproxy was {python_build}. One with profile-guided optimization, such as Debian's,
  was seen to need up to a fifth less processor time.
"""
