/** The two machines of a cable, as lab/ would have them: each has its pods' range and a route to the other's. */
export const machines = [
  { name: 'worker-1', ip: '192.168.56.11', pods: '10.244.1.0/24' },
  { name: 'worker-2', ip: '192.168.56.12', pods: '10.244.2.0/24' },
] as const;

/** The API of both, on the first one. */
export const CONTROL_PLANE = 'https://192.168.56.11:6443';
export const DATA = '/var/lib/control-plane';
