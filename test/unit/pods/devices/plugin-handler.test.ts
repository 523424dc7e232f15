import { describe, expect, it } from 'vitest';
import { isExtendedResource } from '../../../../src/node/extended-resources.ts';
import { DevicePluginHandler } from '../../../../src/pods/devices/plugin-handler.ts';

describe('device plugins that come through plugins_registry', () => {
  const calls: string[] = [];
  const handler = new DevicePluginHandler(
    {
      connect: async (resource, socket) => void calls.push(`connect ${resource} ${socket}`),
      disconnect: (resource, socket) => void calls.push(`disconnect ${resource} ${socket}`),
    },
    { isExtendedResource },
  );
  const plugin = { type: 'DevicePlugin', name: 'example.com/gpu', endpoint: '/r/gpu.sock', versions: ['v1beta1'] };

  it('are handed over with their socket, and taken back', async () => {
    handler.validate(plugin);
    await handler.register(plugin);
    await handler.deregister(plugin);
    expect(calls).toEqual(['connect example.com/gpu /r/gpu.sock', 'disconnect example.com/gpu /r/gpu.sock']);
  });

  it.each([
    [{ versions: ['v1'] }, 'manager version, v1beta1, is not among plugin supported versions [v1]'],
    [{ name: 'cpu' }, 'the ResourceName "cpu" is invalid'],
  ])('are refused: %j', (more, why) => {
    expect(() => handler.validate({ ...plugin, ...more })).toThrow(why);
  });
});
