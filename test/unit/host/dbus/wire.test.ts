import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeMessage, encodeMessage, messageLength } from '../../../../src/host/dbus/message.ts';
import type { DBusValue } from '../../../../src/host/dbus/port.ts';
import { typesOf, WireReader, WireWriter } from '../../../../src/host/dbus/wire.ts';

const written = (signature: string, values: readonly DBusValue[]): Buffer => {
  const writer = new WireWriter();
  writer.writeAll(signature, values);
  return writer.bytes;
};

describe('D-Bus values', () => {
  it('tells the types of a signature apart', () => {
    expect(typesOf('ssa(sv)a(sa(sv))a{s(ii)}u')).toEqual(['s', 's', 'a(sv)', 'a(sa(sv))', 'a{s(ii)}', 'u']);
    for (const wrong of ['a', '(s', '{sv', 'sZ', ')']) expect(() => typesOf(wrong)).toThrow('is no D-Bus signature');
  });

  it.each<[string, readonly DBusValue[], string]>([
    ['yu', [1, 2], '01000000 02000000'],
    ['s', ['ab'], '02000000 616200'],
    ['g', ['as'], '02617300'],
    ['yt', [1, 2n], '0100000000000000 0200000000000000'],
    ['at', [[]], '00000000 00000000'],
    ['b', [true], '01000000'],
    ['v', [{ signature: 'u', value: 7 }], '01750000 07000000'],
    ['a{sv}', [[['k', { signature: 'y', value: 9 }]]], '0a000000 00000000 01000000 6b00 0179 0009'],
  ])('%s as the specification has it', (signature, values, hex) => {
    expect(written(signature, values).toString('hex')).toBe(hex.replaceAll(' ', ''));
  });

  it('reads back what it writes, whatever it is', () => {
    const value = fc.tuple(
      fc.string(),
      fc.array(fc.tuple(fc.string(), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))),
      fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      fc.boolean(),
    );
    fc.assert(
      fc.property(value, (values) => {
        const bytes = written('sa(st)ib', values);
        expect(new WireReader(bytes).readAll('sa(st)ib')).toEqual(values);
      }),
    );
  });

  it('never reads beyond the end, nor throws anything but its own errors', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          new WireReader(Buffer.from(bytes)).readAll('sa{sv}as(tx)v');
        } catch (error) {
          expect(error).toMatchObject({ code: 'InvalidArgument' });
        }
      }),
    );
  });
});

describe('D-Bus messages', () => {
  const call = {
    type: 'call' as const,
    serial: 3,
    path: '/a',
    interface: 'b.C',
    member: 'D',
    destination: 'e.F',
    signature: 'sb',
    body: ['x', true],
  };

  it('come back as they were sent, and say their length from the first bytes on', () => {
    const bytes = encodeMessage(call);
    expect(decodeMessage(bytes)).toEqual({ ...call, noReply: false });
    expect(messageLength(bytes.subarray(0, 15))).toBeUndefined();
    expect(messageLength(Buffer.concat([bytes, Buffer.from('more')]))).toBe(bytes.length);
  });

  it('say how many file descriptors come with them', () => {
    const lock = { type: 'return' as const, serial: 7, replySerial: 3, signature: 'h', fileDescriptors: 1, body: [0] };
    const bytes = encodeMessage(lock);
    expect(decodeMessage(bytes)).toEqual({ ...lock, noReply: false });
    // Header field 9, UNIX_FDS, is a uint32.
    expect(bytes.toString('hex')).toContain('0901750001000000');
  });

  it('may be big-endian, with containers in them', () => {
    // A signal with a(sv) of one (name, variant boolean).
    const text = (value: string): number[] => [0, 0, 0, value.length, ...Buffer.from(`${value}\0`)];
    const body = [0, 0, 0, 16, 0, 0, 0, 0, ...text('a'), 1, 0x62, 0, 0, 0, 0, 0, 0, 0, 1];
    const fields = [8, 1, 0x67, 0, 5, ...Buffer.from('a(sv)\0'), 0];
    const head = [0x42, 4, 0, 1, 0, 0, 0, body.length, 0, 0, 0, 2, 0, 0, 0, 11];
    const message = decodeMessage(Buffer.from([...head, ...fields, 0, 0, 0, 0, ...body]));
    expect(message).toMatchObject({ type: 'signal', body: [[['a', { signature: 'b', value: true }]]] });
  });

  it('end with an error, not beyond their end, when they are cut', () => {
    const whole = encodeMessage({ type: 'signal', serial: 1, member: 'M', signature: 'ss', body: ['abc', 'def'] });
    for (let length = 16; length < whole.length; length++) {
      expect(() => decodeMessage(whole.subarray(0, length))).toThrow(/a D-Bus message ends within/);
    }
  });
});
