// Makes a network in this namespace in which 10.77.0.2 is this machine itself (10.77.0.1), far away.
// Arguments: the delay of each packet in milliseconds, and 1 where the first SYN of a connection is lost.
// A packet comes back with its addresses exchanged, which leaves its checksums right.
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { PACKET = 2048, ON_THE_WAY = 1 << 14, TCP = 6, SYN = 0x02, ACK = 0x10 };

static struct {
  long long arrives; // in nanoseconds
  int length;
  unsigned char bytes[PACKET];
} ring[ON_THE_WAY];

static unsigned char seen[1 << 16]; // clients' ports that have sent a SYN

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int open_tun(void) {
  int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  struct ifreq request = {.ifr_name = "far", .ifr_flags = IFF_TUN | IFF_NO_PI};
  if (tun < 0 || ioctl(tun, TUNSETIFF, &request)) err(1, "/dev/net/tun");
  if (system("ip link set lo up && ip link set far up txqueuelen 10000 && ip addr add 10.77.0.1/24 dev far"))
    errx(1, "ip failed");
  return tun;
}

static int is_first_syn(const unsigned char *packet) {
  const unsigned char *tcp = packet + (packet[0] & 15) * 4;
  if ((tcp[13] & (SYN | ACK)) != SYN) return 0;
  int port = tcp[0] << 8 | tcp[1];
  return !seen[port]++;
}

static void exchange_addresses(unsigned char *packet) {
  unsigned char from[4];
  memcpy(from, packet + 12, 4);
  memcpy(packet + 12, packet + 16, 4);
  memcpy(packet + 16, from, 4);
}

int main(int count, char **words) {
  if (count != 3) errx(2, "usage: far-away MILLISECONDS LOSES-SYNS");
  const long long delay = atoll(words[1]) * 1000000;
  const int loses = words[2][0] == '1';
  const int tun = open_tun();
  fprintf(stderr, "far away\n");

  unsigned first = 0, next = 0; // They count on; the place in the ring is the rest.
  for (;;) {
    while (first != next && ring[first % ON_THE_WAY].arrives <= now()) {
      if (write(tun, ring[first % ON_THE_WAY].bytes, ring[first % ON_THE_WAY].length) < 0) warn("write");
      first += 1;
    }
    // A full ring leaves packets in the device's queue.
    while (next - first < ON_THE_WAY) {
      unsigned char *packet = ring[next % ON_THE_WAY].bytes;
      const int length = read(tun, packet, PACKET);
      if (length < 0) break;
      const int is_tcp = length >= 40 && packet[0] >> 4 == 4 && packet[9] == TCP;
      if (!is_tcp || (loses && is_first_syn(packet))) continue;
      exchange_addresses(packet);
      ring[next % ON_THE_WAY].length = length;
      ring[next % ON_THE_WAY].arrives = now() + delay;
      next += 1;
    }
    struct pollfd readable = {tun, next - first < ON_THE_WAY ? POLLIN : 0, 0};
    long long wait = first == next ? 0 : ring[first % ON_THE_WAY].arrives - now();
    if (wait < 0) wait = 0;
    struct timespec at_most = {wait / 1000000000, wait % 1000000000};
    ppoll(&readable, 1, first == next ? NULL : &at_most, NULL);
  }
}
