import { describe, expect, it } from 'vitest';
import { cidrContains, formatCidr, formatIp, isLoopback, parseCidr, parseIp } from '../../../src/model/cidr.ts';

const spell = (text: string): string | undefined => {
  const ip = parseIp(text);
  return ip === undefined ? undefined : formatIp(ip);
};

describe('parseIp and formatIp', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['010.000.0.01', '10.0.0.1'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['FD00:0:0:1:0:0:0:2', 'fd00:0:0:1::2'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:db8::1:0:0:1', '2001:db8::1:0:0:1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ])('spells %s as %s', (text, expected) => expect(spell(text)).toBe(expected));

  it.each([
    '',
    '10.0.0',
    '10.0.0.256',
    '10.0.0.1.2',
    '1:2:3:4:5:6:7',
    '1::2::3',
    ':::',
    'g::1',
    '1:2:3:4:5:6:7::8',
    'fe80::1%eth0',
    '::12345',
    '10.0.0.1 ',
    '1.2.3.4::',
  ])('refuses %j', (text) => expect(parseIp(text)).toBeUndefined());
});

describe('parseCidr and cidrContains', () => {
  it.each([
    ['10.1.2.3/16', '10.1.0.0/16'],
    ['10.1.2.3/20', '10.1.0.0/20'],
    ['10.1.255.3/20', '10.1.240.0/20'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['fd00:1:2:3:4::5/72', 'fd00:1:2:3::/72'],
    ['::ffff:10.1.2.3/112', '10.1.0.0/16'],
  ])('clears the host bits of %s', (text, expected) => {
    const cidr = parseCidr(text);
    expect(cidr === undefined ? undefined : formatCidr(cidr)).toBe(expected);
  });

  it.each(['10.0.0.0', '10.0.0.0/33', '10.0.0.0/-1', 'fd00::/129', '/8', '10.0.0.0/8/8', '10.0.0.0/ 8'])(
    'refuses %j',
    (text) => expect(parseCidr(text)).toBeUndefined(),
  );

  it.each([
    ['10.1.0.0/16', '10.1.255.255', true],
    ['10.1.0.0/16', '10.2.0.0', false],
    ['10.1.16.0/20', '10.1.31.1', true],
    ['10.1.16.0/20', '10.1.32.1', false],
    ['fd00::/8', 'fdff::1', true],
    ['fd00::/8', 'fe00::1', false],
    ['0.0.0.0/0', 'fd00::1', false],
  ])('%s contains %s: %s', (range, address, expected) => {
    const cidr = parseCidr(range);
    const ip = parseIp(address);
    expect(cidr !== undefined && ip !== undefined && cidrContains(cidr, ip)).toBe(expected);
  });

  it('knows loopback addresses of both families', () => {
    const loop = (text: string): boolean => isLoopback(parseIp(text) ?? { family: 'IPv4', words: [] });
    expect([loop('127.1.2.3'), loop('::1'), loop('128.0.0.1'), loop('::2')]).toEqual([true, true, false, false]);
  });
});
