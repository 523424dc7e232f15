const SYSTEM_BUS = 'unix:path=/var/run/dbus/system_bus_socket';

/**
 * The unix socket of the system bus: DBUS_SYSTEM_BUS_ADDRESS, else the well-known one. Undefined when the address names
 * nothing but other transports. An abstract socket begins with a NUL.
 */
export function systemBusPath(environment: Readonly<Record<string, string | undefined>>): string | undefined {
  const given = environment['DBUS_SYSTEM_BUS_ADDRESS'];
  for (const address of (given === undefined || given === '' ? SYSTEM_BUS : given).split(';')) {
    const [transport, rest = ''] = address.split(/:(.*)/s);
    if (transport !== 'unix') continue;
    for (const pair of rest.split(',')) {
      const [key, value = ''] = pair.split(/=(.*)/s);
      if (key === 'path') return unescaped(value);
      if (key === 'abstract') return `\0${unescaped(value)}`;
    }
  }
  return undefined;
}

/** Bytes are escaped as %2f. */
function unescaped(text: string): string {
  const bytes = text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
