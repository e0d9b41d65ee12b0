# Makes a network in this namespace in which 10.77.0.2 is this machine itself (10.77.0.1), far away.
# Arguments: the delay of each packet in seconds, and 1 where the first SYN of a connection is lost.
# A packet comes back with its addresses exchanged, which leaves its checksums right.
import fcntl, heapq, os, select, struct, subprocess, sys, time

delay, loses = float(sys.argv[1]), sys.argv[2] == "1"
tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH", b"far", 0x1001))  # TUNSETIFF: IFF_TUN, IFF_NO_PI
for words in ("link set lo up", "link set far up", "addr add 10.77.0.1/24 dev far"):
    subprocess.check_call(["ip", *words.split()])
print("far away", file=sys.stderr, flush=True)

waiting, seen, number = [], set(), 0
while True:
    wait = max(0, waiting[0][0] - time.monotonic()) if waiting else None
    if select.select([tun], [], [], wait)[0]:
        packet = os.read(tun, 65536)
        header = (packet[0] & 15) * 4
        is_tcp = packet[0] >> 4 == 4 and packet[9] == 6
        if is_tcp and packet[header + 13] & 0x12 == 0x02:  # SYN without ACK
            ports = packet[header : header + 4]
            lost, _ = ports not in seen, seen.add(ports)
            if loses and lost:
                continue
        if is_tcp:
            number += 1
            back = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
            heapq.heappush(waiting, (time.monotonic() + delay, number, back))
    while waiting and waiting[0][0] <= time.monotonic():
        os.write(tun, heapq.heappop(waiting)[2])
