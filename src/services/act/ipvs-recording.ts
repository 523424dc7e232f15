import type { IpsetPort } from '../../host/ipset/port.ts';
import type { IptablesPort } from '../../host/iptables/port.ts';
import type { IpvsPort } from '../../host/ipvs/port.ts';
import type { ServiceDevicePort } from '../../host/service-device/port.ts';

interface Ports {
  readonly iptables: IptablesPort;
  readonly ipvs: IpvsPort;
  readonly ipset: IpsetPort;
  readonly device: ServiceDevicePort;
}

/** Ports that read the kernel, and note what they would write to it, under the name of the tool. */
export function recordingPorts(real: Ports): { readonly ports: Ports; readonly texts: string[] } {
  const texts: string[] = [];
  const note =
    (tool: string) =>
    async (text: string): Promise<void> =>
      void texts.push(`# ${tool}\n${text}`);
  const { iptables, ipvs, ipset, device } = real;
  const { name } = device;
  return {
    texts,
    ports: {
      iptables: {
        family: iptables.family,
        flavour: iptables.flavour,
        restore: note('iptables-restore --noflush'),
        save: (table) => iptables.save(table),
        list: (table, chain) => iptables.list(table, chain),
      },
      ipvs: {
        restore: note('ipvsadm -R'),
        save: () => ipvs.save(),
        connections: () => ipvs.connections(),
        setTimeouts: async () => {},
      },
      ipset: {
        restore: note('ipset restore'),
        save: () => ipset.save(),
        sizes: () => ipset.sizes(),
        destroy: async () => {},
      },
      device: {
        name,
        read: () => device.read(),
        ensure: async () => {
          if ((await device.read()) === undefined) texts.push(`# ip\nlink add ${name} type dummy\n`);
        },
        change: async (add, remove) => {
          const lines = [
            ...add.map((address) => `address add ${address} dev ${name}`),
            ...remove.map((address) => `address del ${address} dev ${name}`),
          ];
          texts.push(`# ip -batch -\n${lines.join('\n')}\n`);
        },
        originateFrom: async () => {},
        originating: (addresses) => device.originating(addresses),
        remove: async () => {},
      },
    },
  };
}
