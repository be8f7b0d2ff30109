#!/usr/bin/env python3
"""Speed of a running keyd as ratios to floors (design.md, "Speed").

usage: bench.py BUILD [quick] [--rounds N] [--json FILE] [--only PART]

BUILD is the build directory (its bin, tests and bench). Everything is measured in turns,
round after round within one run, so that a machine that is slower for a while slows both
sides of a ratio; what is printed is the median over the rounds. Nothing is asserted but
that every request ended well: figures are for reading. PART is one of issuance, lookups,
tls, messages, memory. A goal that was missed is marked,
and so is a run in which others used much of the machine."""
import json
import os
import pathlib
import re
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

MIB = 1024 * 1024
TICK = os.sysconf("SC_CLK_TCK")
ROLES = ("gate", "vault", "ledger")
OTHERS_MUCH = 0.10


# --- processes -------------------------------------------------------------------------


def stat_of(pid):
    """Name, parent and CPU seconds of a process."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    name = text[text.index("(") + 1 : text.rindex(")")]
    rest = text[text.rindex(")") + 2 :].split()
    return name, int(rest[1]), (int(rest[11]) + int(rest[12])) / TICK


def children_of(parent):
    """(pid, name) of its children."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, ppid, _ = stat_of(entry.name)
            except (OSError, ValueError):
                continue
            if ppid == parent:
                found.append((int(entry.name), name))
    return found


def memory_of(pid):
    """Resident and proportional octets; what only root may see is None."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    rss = int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024
    try:
        smaps = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss = int(re.search(r"^Pss:\s+(\d+)", smaps, re.M).group(1)) * 1024
    except OSError:
        pss = None
    return rss, pss


def busy_seconds():
    """CPU seconds used by everybody since the machine started."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / TICK


class Daemon:
    """A provisioned daemon, with lines of its own in the configuration."""

    def __init__(self, build, lines="", how=None):
        """how: -t with a remote listener, -m for messages."""
        self.process = subprocess.Popen(
            [build / "bench/bench_daemon", *([how] if how else []), lines],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.await_ready()

    def await_ready(self):
        words = self.process.stdout.readline().split()
        if len(words) != 4 or words[0] != "ready":
            sys.exit("bench: the daemon did not start")
        self.directory, self.pid, self.ready_ms = words[1], int(words[2]), float(words[3])
        self.roles = {role: [] for role in ROLES}
        for pid, name in children_of(self.pid):
            # keyd-gate-tls is a gate as well.
            self.roles[name.removeprefix("keyd-").removesuffix("-tls")].append(pid)

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def stop(self):
        self.tell("stop")
        answer = self.process.stdout.readline()
        if answer != "stopped 0\n":
            sys.exit(f"bench: the daemon ended badly: {answer}")

    def start(self):
        self.tell("start")
        self.await_ready()

    def end(self):
        self.process.stdin.close()
        if self.process.wait(60) != 0:
            sys.exit("bench: the daemon ended badly")

    @property
    def state(self):
        return f"{self.directory}/state"

    def socket(self, name="submission"):
        return f"{self.directory}/run/{name}.sock"

    def way(self, name):
        """Options of keyd-load: "socket" (or "mta"), or through an endpoint, "unix" or
        "tls"."""
        if name in ("socket", "mta"):
            return ["--socket", self.socket("submission" if name == "socket" else name)]
        if name == "unix":
            return ["--endpoint", f"unix:{self.socket()}"]
        port = pathlib.Path(f"{self.directory}/port").read_text().strip()
        files = {"certificate": "mx1.pem", "key": "mx1.key", "ca": "ca.pem"}
        out = ["--endpoint", f"tls:127.0.0.1:{port}"]
        for option, file in files.items():
            out += [f"--tls-{option}", f"{self.directory}/{file}"]
        return out

    def cpu(self):
        """CPU seconds used by each role so far."""
        return {
            role: sum(stat_of(pid)[2] for pid in pids) for role, pids in self.roles.items()
        }

    def memory(self):
        """{role: (resident, proportional)}, all gates together."""
        out = {}
        for role, pids in self.roles.items():
            each = [memory_of(pid) for pid in pids]
            shared = None if any(p is None for _, p in each) else sum(p for _, p in each)
            out[role] = (sum(r for r, _ in each), shared)
        return out


# --- measuring -------------------------------------------------------------------------


class Bench:
    def __init__(self, build, quick, rounds):
        self.build = build
        self.quick = quick
        self.rounds = rounds
        # tests/run.sh does a tenth
        self.scale = int(os.environ.get("KEYD_TEST_SCALE", "10"))
        self.seconds = 1.0 if quick else 1.2 if self.scale == 1 else 3.0
        self.serial = 0
        self.bad = []
        self.ours = self.total = 0.0

    def floors(self, *names):
        seconds = "0.3" if self.quick else "0.6"
        out = subprocess.run(
            [self.build / "bench/bench_floor", seconds, *names],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        return json.loads(out)

    def load(self, daemon, mix, connections, in_flight, way="socket", **options):
        """One run of keyd-load, with the CPU of each role added, a request each."""
        self.serial += 1
        options.setdefault("seed", f"b{self.serial}")
        options.setdefault("seconds", self.seconds)
        if mix in ("issue", "rotate"):
            # More than it will use: it must not end for want of requests.
            options.setdefault("prepare", int(9000 * options["seconds"]))
        command = [self.build / "tests/keyd-load", "--json", "--begin", "--mix", mix]
        command += [*daemon.way(way), "--give-up", str(options.pop("give_up", 5))]
        command += ["--connections", str(connections), "--in-flight", str(in_flight)]
        for name, value in options.items():
            command.append("--" + name)
            if value is not True:
                command.append(str(value))
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        first = process.stderr.readline()
        before, busy = daemon.cpu(), busy_seconds()
        out, rest = process.communicate()
        after, busy = daemon.cpu(), busy_seconds() - busy
        if first != "begin\n" or process.returncode not in (0, 1) or not out:
            sys.exit(f"bench: {command}: status {process.returncode} {first}{rest}{out}")
        result = json.loads(out)
        if process.returncode != 0:
            self.bad.append(f"{mix} {connections} x {in_flight} {way}: {out.strip()} {rest}")
        ok = max(result["ok"], 1)
        used = {role: after[role] - before[role] for role in ROLES}
        self.ours += sum(used.values()) + result["client_cpu_us"] * ok / 1e6
        self.total += busy
        result["cpu_us"] = {role: used[role] * 1e6 / ok for role in ROLES}
        return result


def median(values):
    return statistics.median(values)


# --- what is printed ---------------------------------------------------------------------


class Table:
    def __init__(self):
        self.rows = {}

    def heading(self, text):
        print(
            f"\n{text}\n{'':34s} {'a second':>9s} {'p50 us':>8s} {'p99 us':>8s} "
            f"{'gate':>6s} {'vault':>6s} {'ledger':>6s} {'client':>6s}  CPU us each"
        )

    def row(self, name, runs):
        """The median of each column."""
        cpu = [median(r["cpu_us"][role] for r in runs) for role in ROLES]
        cpu.append(median(r["client_cpu_us"] for r in runs))
        values = [median(r[k] for r in runs) for k in ("rate", "p50_us", "p99_us")]
        print(
            f"{name:34s} {values[0]:9,.0f} {values[1]:8,.0f} {values[2]:8,.0f} "
            + " ".join(f"{c:6.1f}" for c in cpu)
        )
        self.rows[name] = {
            "rate": values[0],
            "p50_us": values[1],
            "p99_us": values[2],
            "cpu_us": dict(zip((*ROLES, "client"), cpu)),
        }

    def cpu_of(self, name):
        """Microseconds of the daemon's processes for one operation of that row."""
        return sum(self.rows[name]["cpu_us"][role] for role in ROLES)

    def figure(self, name, value, unit="", goal=None, most=False):
        """One figure with what it should be at least (most: at most)."""
        text = f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
        line = f"{name:68s} {text:>9s}{' ' + unit if unit else ''}"
        if goal is not None:
            met = value <= goal if most else value >= goal
            line += f"   goal {'<=' if most else '>='} {goal:,g}{'' if met else '   MISSED'}"
        print(line)
        self.rows[name] = {"value": value, "goal": goal}


# --- issuance ----------------------------------------------------------------------------

SHAPES = ((16, 1), (64, 1), (16, 32))


def issuance(bench, table):
    """Group commit, commit for each request and the floors, in turns."""
    grouped = Daemon(bench.build)
    single = Daemon(bench.build, "group-commit-max = 1")
    runs = {}

    def run(key, *args, **options):
        runs.setdefault(key, []).append(bench.load(*args, **options))

    for _ in range(bench.rounds):
        floor = bench.floors("issue", "step", "ipc", f"commit={grouped.state}")
        runs.setdefault("floor", []).append(floor)
        run("lock step", grouped, "issue", 1, 1)
        for shape in SHAPES:
            run(("group", shape), grouped, "issue", *shape)
            run(("single", shape), single, "issue", *shape)
        run("step", grouped, "rotate", 16, 32)
        run("step 64", grouped, "rotate", 64, 1)
    grouped.end()
    single.end()

    floors = runs["floor"]
    print("floors")
    for name, text in (
        ("issue", "primitives of a first issuance, one core"),
        ("step", "primitives of a step of a chain, one core"),
        ("commit", "a durable commit of 1 KiB"),
        ("ipc", "a question and answer between two CPUs"),
    ):
        table.figure(f"  {text}", median(f[name]["p50_us"] for f in floors), "us")

    table.heading("issuance, durable")
    table.row("lock step", runs["lock step"])
    for shape in SHAPES:
        name = f"{shape[0]} clients x {shape[1]}"
        table.row(name, runs["group", shape])
        table.row("  commit for each request", runs["single", shape])
    table.row("steps of chains, 64 clients x 1", runs["step 64"])
    table.row("steps of chains, 16 clients x 32", runs["step"])

    print("\nratios")
    for shape in SHAPES:
        name = f"{shape[0]} x {shape[1]}"
        mine = [r["rate"] for r in runs["group", shape]]
        core = [f["issue"]["rate"] for f in floors]
        other = [r["rate"] for r in runs["single", shape]]
        table.figure(
            f"issuance {name} to one core's floor",
            median(m / c for m, c in zip(mine, core)),
            goal=1.2,
        )
        table.figure(
            f"issuance {name} to commit for each request",
            median(m / o for m, o in zip(mine, other)),
            goal=2.5,
        )
        alone = [1e6 / (f["issue"]["p50_us"] + f["commit"]["p50_us"]) for f in floors]
        table.figure(
            f"issuance {name} to one thread that signs and commits in turn",
            median(m / a for m, a in zip(mine, alone)),
        )
        table.figure(
            f"issuance {name}, what its CPU time allows two cores, to one's floor",
            median(
                2 * f["issue"]["p50_us"] / (sum(r["cpu_us"].values()) + r["client_cpu_us"])
                for r, f in zip(runs["group", shape], floors)
            ),
        )
    for key, name in (("step 64", "64 x 1"), ("step", "16 x 32")):
        table.figure(
            f"steps {name} to one core's floor",
            median(r["rate"] / f["step"]["rate"] for r, f in zip(runs[key], floors)),
        )
    table.figure(
        "server CPU of an issuance 16 x 32 to its floor",
        median(
            sum(r["cpu_us"].values()) / f["issue"]["p50_us"]
            for r, f in zip(runs["group", (16, 32)], floors)
        ),
    )
    budget = [
        f["issue"]["p50_us"] + 2 * f["ipc"]["p50_us"] + f["commit"]["p50_us"] for f in floors
    ]
    table.figure(
        "lock step p50 to floor + 2 IPC + commit",
        median(r["p50_us"] / b for r, b in zip(runs["lock step"], budget)),
        goal=1.0,
        most=True,
    )


# --- look-ups ------------------------------------------------------------------------------


def fill(bench, daemon, count):
    """The daemon with that many users more; seconds of filling, milliseconds of starting."""
    daemon.stop()
    since = time.monotonic()
    subprocess.run(
        [bench.build / "bench/fill_registry", daemon.state, "example.com", str(count)],
        check=True,
    )
    since = time.monotonic() - since
    daemon.start()
    return since, daemon.ready_ms


def lookups(bench, table):
    daemon = Daemon(bench.build)
    population = 10000
    fill(bench, daemon, population)
    runs = {}
    for _ in range(bench.rounds):
        for mix, shape in (
            ("lookup", (16, 32)),
            ("verify", (16, 32)),
            ("lookup", (16, 1)),
            ("lookup", (1, 1)),
        ):
            known = {"known": True, "population": population, "seed": "fill"}
            runs.setdefault((mix, shape), []).append(bench.load(daemon, mix, *shape, **known))
    daemon.end()
    table.heading(f"look-ups, {population:,} signets")
    for (mix, shape), each in runs.items():
        table.row(f"{mix} {shape[0]} clients x {shape[1]}", each)
    print()
    for mix in ("lookup", "verify"):
        rate = median(r["rate"] for r in runs[mix, (16, 32)])
        table.figure(f"{mix} 16 x 32", rate, "a second", goal=50000)


# --- TLS beside unix -------------------------------------------------------------------------


def work_of(mix):
    """The same for both transports, and small enough to stay in the caches of both."""
    return {} if mix == "issue" else {"known": True, "population": 10000, "seed": "fill"}


def tls(bench, table):
    """The same work through libkeyd's endpoints, unix and TLS in turns; a ratio is that of
    neighbours in time, and which of the two goes first changes."""
    daemon = Daemon(bench.build, how="-t")
    fill(bench, daemon, 10000)
    mixes, ways = ("issue", "lookup"), ("unix", "tls")
    runs = {(mix, way): [] for mix in mixes for way in ways}
    for i in range(max(bench.rounds, 2)):
        for mix in mixes:
            for way in ways if i % 2 == 0 else reversed(ways):
                runs[mix, way].append(bench.load(daemon, mix, 16, 32, way, **work_of(mix)))
    daemon.end()
    table.heading("TLS beside unix, 16 clients x 32")
    for (mix, way), each in runs.items():
        table.row(f"{mix} over {way}", each)
    print()
    for mix in mixes:
        pairs = list(zip(runs[mix, "tls"], runs[mix, "unix"]))
        table.figure(
            f"{mix} over TLS to over unix",
            median(t["rate"] / u["rate"] for t, u in pairs),
            goal=0.85,
        )
        table.figure(
            f"{mix}, CPU time of all processes over unix to over TLS",
            median(cpu_of_all(u) / cpu_of_all(t) for t, u in pairs),
        )
        table.figure(
            f"{mix}, CPU time of the daemon over unix to over TLS",
            median(sum(u["cpu_us"].values()) / sum(t["cpu_us"].values()) for t, u in pairs),
        )


def cpu_of_all(run):
    return sum(run["cpu_us"].values()) + run["client_cpu_us"]


# --- messages ----------------------------------------------------------------------------------

LARGE = 64 * MIB - 65536
SMALL = {"content": 4096, "population": 512}


class Beside:
    """Small requests at a steady rate while something else is done."""

    def __init__(self, bench, daemon, seconds):
        self.bench = bench
        bench.serial += 1
        command = [bench.build / "tests/keyd-load", "--json", "--mix", "sign"]
        command += [*daemon.way("socket"), "--connections", "4", "--in-flight", "8"]
        command += ["--rate", "100", "--seconds", str(seconds), "--seed", f"b{bench.serial}"]
        command += ["--content", "4096", "--population", "64"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def end(self):
        out, _ = self.process.communicate()
        result = json.loads(out)
        if self.process.returncode != 0:
            self.bench.bad.append(f"beside large messages: {out.strip()}")
        return result


def large_messages(bench, daemon, runs):
    """A large message again and again, alone and beside small requests."""
    seconds = 2 if bench.quick else 2 * bench.seconds
    large = {"content": LARGE, "population": 1, "seconds": seconds, "give_up": 60}
    for mix, way in (("sign", "socket"), ("open", "mta")):
        runs.setdefault((mix, "large"), []).append(
            bench.load(daemon, mix, 1, 1, way, **large)
        )
        beside = Beside(bench, daemon, seconds + 2)
        runs.setdefault((mix, "large, not alone"), []).append(
            bench.load(daemon, mix, 1, 1, way, **large)
        )
        runs.setdefault((mix, "small beside large"), []).append(beside.end())


def messages(bench, table):
    """Messages signed and opened beside what this takes, in turns."""
    daemon = Daemon(bench.build, "origin-rate = 100000", how="-m")
    mixes = (("sign", "socket", "SignOutbound"), ("open", "mta", "OpenEnvelope"))
    names = ("sign", "open", "sign-quick", "open-quick", "readings", "ipc")
    runs, floors = {}, []
    for _ in range(bench.rounds):
        floors.append(bench.floors(*names, f"commit={daemon.state}"))
        for mix, way, _name in mixes:
            for shape in ((16, 32), (1, 1)):
                runs.setdefault((mix, shape), []).append(
                    bench.load(daemon, mix, *shape, way, **SMALL)
                )
        large_messages(bench, daemon, runs)
    daemon.end()

    print("\nfloors of messages, one core")
    for name, text in (
        ("sign", "SignOutbound, hidden signatures at one cost"),
        ("sign-quick", "the same with nothing to hide"),
        ("open", "OpenEnvelope, hidden signatures at one cost, 2 keys"),
        ("open-quick", "the same with nothing to hide, 1 key"),
        ("readings", "four readings of 64 MiB"),
    ):
        table.figure(f"  {text}", median(f[name]["p50_us"] for f in floors), "us")
    table.heading("messages with 4 KiB of text")
    for mix, _way, name in mixes:
        table.row(f"{name} lock step", runs[mix, (1, 1)])
        table.row(f"{name} 16 clients x 32", runs[mix, (16, 32)])
    table.heading("messages of 64 MiB, one at a time")
    for mix, _way, name in mixes:
        table.row(f"{name} alone", runs[mix, "large"])
        table.row(f"{name} beside 100 small a second", runs[mix, "large, not alone"])
    print()
    for mix, _way, name in mixes:
        for floor, goal, text in ((mix, 0.8, ""), (f"{mix}-quick", None, ", nothing hidden")):
            table.figure(
                f"{name} 16 x 32 to two cores' floor{text}",
                median(
                    r["rate"] * f[floor]["p50_us"] / 2e6
                    for r, f in zip(runs[mix, (16, 32)], floors)
                ),
                goal=goal,
            )
        table.figure(
            f"{name} lock step p50 to floor + 2 IPC + commit",
            median(
                r["p50_us"] / (f[mix]["p50_us"] + 2 * f["ipc"]["p50_us"] + f["commit"]["p50_us"])
                for r, f in zip(runs[mix, (1, 1)], floors)
            ),
            goal=1.0,
            most=True,
        )
        table.figure(
            f"{name} of 64 MiB, four readings to its time",
            median(f["readings"]["p50_us"] / r["p50_us"] for r, f in zip(runs[mix, "large"], floors)),
            goal=0.6,
        )
        table.figure(
            f"small requests' p99 beside {name} of 64 MiB",
            median(r["p99_us"] for r in runs[mix, "small beside large"]) / 1000,
            "ms",
            goal=50,
            most=True,
        )


# --- policy and quotas -----------------------------------------------------------------------


def policy(bench, table):
    """Deciding and counting beside the work they guard, of a large configuration."""
    out = subprocess.run(
        [bench.build / "bench/bench_policy", "json"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    cost = json.loads(out)
    print(
        f"\npolicy and quotas, {cost['domains']:,} domains, {cost['principals']:,} principals, "
        f"{cost['lines']} lines count"
    )
    for name, text in (
        ("decided", "an issuance decided"),
        ("passed", "decided and counted"),
        ("refused", "decided, and refused over a quota"),
        ("look_up", "a look-up decided and counted"),
    ):
        table.figure(f"  {text}", cost[f"{name}_ns"], "ns")
    for name, ns, us in (
        ("an issuance's primitives", cost["passed_ns"], cost["floor_us"]),
        ("an issuance's CPU in the daemon", cost["passed_ns"], table.cpu_of("16 clients x 32")),
        (
            "a look-up's CPU in the daemon",
            cost["look_up_ns"],
            table.cpu_of("lookup 16 clients x 32"),
        ),
    ):
        table.figure(
            f"policy and quotas, share of {name}",
            ns / (us * 10),
            "%",
            goal=3,
            most=True,
        )


# --- tokens ----------------------------------------------------------------------------------


def tokens(bench, table):
    """Through the processes of a token, and by calls of its module in one process."""
    program = bench.build / "bench" / "bench_p11"
    seconds = str(bench.rounds)
    out = subprocess.run([program, seconds], stdout=subprocess.PIPE, text=True)
    if out.returncode == 77:
        print(f"\ntokens: {out.stdout.strip()}")
        return
    if out.returncode != 0:
        sys.exit("bench: bench_p11 failed")
    runs = [json.loads(line) for line in out.stdout.splitlines()]
    rate = {(r["what"], r["threads"]): r["rate"] for r in runs}
    print("\nPKCS#11 tokens (SoftHSM): operations a second, CPU of all processes each")
    for r in runs:
        print(f"  {r['what']:<16} {r['threads']} at a time {r['rate']:8,.0f}/s {r['cpu_us']:7.1f} us")
    for n in sorted({r["threads"] for r in runs}):
        signing = rate["sign hosts", n] / rate["sign direct", n]
        deriving = rate["derive hosts", n] / rate["derive direct", n]
        peer = rate["ecdsa p11-kit", n] / rate["ecdsa direct", n]
        table.figure(f"signing through hosts, of C_Sign and a verification, {n} at a time",
                     signing, "", goal=0.85)
        table.figure(f"deriving through hosts, of C_DeriveKey, {n} at a time", deriving, "",
                     goal=0.85)
        table.figure(f"p11-kit server's, of C_Sign (ECDSA, the peer), {n} at a time", peer, "")
        table.figure(f"ours in signing, of p11-kit server's, {n} at a time", signing / peer, "",
                     goal=2.5)


# --- memory ----------------------------------------------------------------------------------


def frame(message):
    return struct.pack(">I", len(message)) + message


def idle_connections(path, count):
    """Connections that have agreed on a version and say no more."""
    # Request{id = 1, hello = HelloRequest{min_version = 1, max_version = 1}}
    hello = frame(bytes((0x08, 1, 0xAA, 0x06, 4, 0x08, 1, 0x10, 1)))
    sockets = []
    for _ in range(count):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.connect(path)
        s.sendall(hello)
        if len(s.recv(4096)) < 4:
            sys.exit("bench: a connection was refused")
        sockets.append(s)
    return sockets


def print_memory(table, text, memory, goal=None):
    rss = sum(r for r, _ in memory.values()) / MIB
    each = ", ".join(f"{role} {memory[role][0] / MIB:.1f}" for role in ROLES)
    table.figure(f"{text}, resident", rss, "MiB", goal=goal, most=True)
    line = f"  {each} (all four gates together)"
    if all(p is not None for _, p in memory.values()):
        pss = ", ".join(f"{role} {memory[role][1] / MIB:.1f}" for role in ROLES)
        total = sum(p for _, p in memory.values()) / MIB
        line += f"; without counting shared pages twice {total:.1f}: {pss}"
    print(line)


def memory(bench, table):
    count = 100_000 * (1 if bench.quick else bench.scale)
    daemon = Daemon(bench.build)
    print(f"\nmemory, {count:,} signets in the registry")
    print_memory(table, "empty, no connections", daemon.memory())
    filling, ready_ms = fill(bench, daemon, count)
    size = os.stat(f"{daemon.state}/registry.db").st_size
    print(f"filled in {filling:.0f} s, {size / MIB:,.0f} MiB on disk")
    table.figure("from launch to ready", ready_ms, "ms")
    sockets = idle_connections(daemon.socket(), 1000)
    time.sleep(0.2)
    print_memory(table, "1,000 idle connections", daemon.memory(), goal=64)
    known = {"known": True, "population": count, "seed": "fill"}
    run = bench.load(daemon, "lookup", 16, 32, **known)
    issued = bench.load(daemon, "issue", 16, 32)
    print_memory(table, "after look-ups and issuance", daemon.memory(), goal=64)
    table.heading(f"with {count:,} signets and 1,000 idle connections")
    table.row("lookup 16 clients x 32", [run])
    table.row("issuance 16 clients x 32", [issued])
    for s in sockets:
        s.close()
    daemon.end()


# --- all ---------------------------------------------------------------------------------------


def machine():
    """What it ran on, in a line."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", tempfile.gettempdir()], stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    name = model.group(1) if model else "unknown processor"
    return f"{len(os.sched_getaffinity(0))} x {name}, {kind}, load {os.getloadavg()[0]:.1f}"


# policy is compared with what issuance and lookups measured
PARTS = {
    "issuance": issuance,
    "lookups": lookups,
    "tls": tls,
    "messages": messages,
    "policy": policy,
    "tokens": tokens,
    "memory": memory,
}


def main(arguments):
    if not arguments:
        sys.exit(__doc__)
    build = pathlib.Path(arguments[0]).resolve()
    quick = "quick" in arguments
    rounds = 1 if quick else 3
    if "--rounds" in arguments:
        rounds = int(arguments[arguments.index("--rounds") + 1])
    bench, table = Bench(build, quick, rounds), Table()
    print(f"keyd on {machine()}; {rounds} rounds")
    since = time.monotonic()
    if "--only" in arguments:
        PARTS[arguments[arguments.index("--only") + 1]](bench, table)
    else:
        for part in PARTS.values():
            part(bench, table)
    others = max(0.0, 1 - bench.ours / bench.total) if bench.total else 0
    much = "   too much to judge by" if others > OTHERS_MUCH else ""
    print(f"\nof the CPU time used meanwhile, others had {others:.0%}{much}")
    print(f"{time.monotonic() - since:.0f} s in all")
    if "--json" in arguments:
        path = pathlib.Path(arguments[arguments.index("--json") + 1])
        path.write_text(json.dumps(table.rows, indent=1) + "\n")
    for text in bench.bad:
        print("requests failed:", text)
    return 1 if bench.bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
