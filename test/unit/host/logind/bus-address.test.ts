import { describe, expect, it } from 'vitest';
import { systemBusPath } from '../../../../src/host/logind/bus-address.ts';

describe('the address of the system bus', () => {
  it.each<[string | undefined, string | undefined]>([
    [undefined, '/var/run/dbus/system_bus_socket'],
    ['unix:path=/run/a%20b,guid=1', '/run/a b'],
    ['tcp:host=x;unix:abstract=/tmp/c', '\0/tmp/c'],
    ['tcp:host=x', undefined],
  ])('%s', (address, path) => {
    expect(systemBusPath(address === undefined ? {} : { DBUS_SYSTEM_BUS_ADDRESS: address })).toBe(path);
  });
});
