import { expect, it } from 'vitest';
import { RecentAddresses } from '../../../src/services/recent-addresses.ts';

it('asks for the addresses of the node again after a second, and later where asking takes long', () => {
  let [now, costMs, asked] = [0, 0, 0];
  const net = {
    localAddresses: (exceptDevice?: string) => {
      asked++;
      now += costMs;
      return [`10.0.0.${asked}`, exceptDevice ?? 'all'];
    },
  };
  const addresses = new RecentAddresses({ net, clock: { monotonic: () => now } });
  expect(addresses.get(undefined)).toEqual(['10.0.0.1', 'all']);
  now = 999;
  expect(addresses.get(undefined)).toEqual(['10.0.0.1', 'all']);
  expect(addresses.get('kube-ipvs0')).toEqual(['10.0.0.2', 'kube-ipvs0']);
  now = 1000;
  costMs = 6;
  expect(addresses.get(undefined)).toEqual(['10.0.0.3', 'all']);
  now = 3999;
  expect(addresses.get(undefined)).toEqual(['10.0.0.3', 'all']);
  now = 4000;
  expect(addresses.get(undefined)).toEqual(['10.0.0.4', 'all']);
});
