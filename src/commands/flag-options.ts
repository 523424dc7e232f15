import { type Command, Option } from 'commander';
import { flags } from '../config/flags.ts';
import type { ConfigSources } from '../config/load-config.ts';

/** Adds --config and every configuration flag to a command. */
export function addConfigOptions(command: Command): Command {
  command.option(
    '-c, --config <FILE>',
    'KubeletConfiguration, KubeProxyConfiguration and DeckhandConfiguration documents; may be given again',
    (file: string, files: string[]) => [...files, file],
    [],
  );
  for (const { name, value, help } of flags) {
    // A switch may be written alone: --masquerade-all is --masquerade-all=true.
    const argument = value === undefined ? '' : value === 'true|false' ? ` [${value}]` : ` <${value}>`;
    command.addOption(new Option(`--${name}${argument}`, help));
  }
  return command;
}

/** What was given, by flag name. */
export function configSources(options: Readonly<Record<string, unknown>>): ConfigSources {
  const given: Record<string, string | true> = {};
  for (const { name } of flags) {
    const value = options[new Option(`--${name}`).attributeName()];
    if (typeof value === 'string' || value === true) given[name] = value;
  }
  return { files: (options['config'] as string[] | undefined) ?? [], flags: given };
}
