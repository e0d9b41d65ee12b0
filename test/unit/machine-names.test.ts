import assert from 'node:assert/strict';
import test from 'node:test';
import { addressLiteral } from '../../src/host/machine-names.ts';

test('an address literal is as RFC 5321 4.1.3 has it, for IPv4 in IPv6 and with a zone as well', () => {
  assert.equal(addressLiteral('192.0.2.1'), '[192.0.2.1]');
  assert.equal(addressLiteral('::ffff:192.0.2.1'), '[192.0.2.1]');
  assert.equal(addressLiteral('2001:db8::1'), '[IPv6:2001:db8::1]');
  assert.equal(addressLiteral('fe80::1%eth0'), '[IPv6:fe80::1]');
});
