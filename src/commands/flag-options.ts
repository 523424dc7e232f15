import type { Command } from 'commander';
import { flagsHelp } from '../config/flags.ts';

/** Lets a command take every configuration flag. They are read by kubelet's rules, not by commander's. */
export function addConfigOptions(command: Command): Command {
  return command
    .usage('[flags]')
    .allowUnknownOption()
    .allowExcessArguments()
    .addHelpText('after', () => flagsHelp());
}
