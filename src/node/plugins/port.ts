import type { PluginInfo } from '../../host/csi/port.ts';

/** Takes plugins of one type, such as CSIPlugin. What it throws is told to the plugin, which is asked again later. */
export interface PluginHandler {
  /** Throws when the plugin cannot be taken. */
  validate(plugin: PluginInfo): void;
  register(plugin: PluginInfo, signal: AbortSignal): Promise<void>;
  /** Its socket is gone. Told once for each plugin that was registered. */
  deregister(plugin: PluginInfo): Promise<void>;
}
