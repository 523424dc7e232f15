import { nearMiss } from '../kit/near-miss.ts';
import { flags } from './flags.ts';
import type { PlacedFinding } from './layer.ts';
import type { ConfigSources } from './load-config.ts';

const SHORT: Readonly<Record<string, string>> = { v: 'v', c: 'config' };
const FILES = ['config', 'config-dir'];

/**
 * Reads what stands behind `deckhand run`, by the rules of kubelet's flags (spf13/pflag): `--flag=value`, `--flag value`,
 * switches without a value, `_` for `-`, and `-v4`. Never throws: what is wrong comes along as findings.
 */
export async function parseArguments(argv: readonly string[]): Promise<ConfigSources> {
  const byName = new Map(flags.map((flag) => [flag.name, flag]));
  const given: Record<string, string[]> = {};
  const findings: PlacedFinding[] = [];
  const rest = [...argv];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    const { name, value, shown } = split(word);
    if (name === undefined) {
      findings.push({ level: 'error', text: `${JSON.stringify(word)} is not expected here; expected flags only` });
      continue;
    }
    const flag = byName.get(name);
    if (flag === undefined && !FILES.includes(name)) {
      const { text, level, alone } = await unknownFlag(name, value ?? rest[0], [...byName.keys(), ...FILES]);
      findings.push({ level, text: `${shown}: ${text}` });
      if (value === undefined && !alone && rest[0]?.startsWith('-') === false) rest.shift();
      continue;
    }
    let text = value;
    if (text === undefined && flag?.as === 'boolean')
      text = /^(true|false)$/.test(rest[0] ?? '') ? rest.shift() : 'true';
    text ??= rest.shift();
    if (text === undefined) findings.push({ level: 'error', text: `${shown}: needs a value` });
    else given[name] = [...(given[name] ?? []), text];
  }
  const { config: files = [], 'config-dir': configDirs = [], ...others } = given;
  const configDir = configDirs.at(-1);
  return {
    files: files.filter((file) => file !== ''),
    ...(configDir === undefined || configDir === '' ? {} : { configDir }),
    flags: others,
    findings,
  };
}

function split(word: string): { readonly name?: string; readonly value?: string; readonly shown: string } {
  const long = /^--([^=]+)(?:=(.*))?$/s.exec(word);
  if (long !== null) {
    const name = (long[1] ?? '').replaceAll('_', '-');
    return { name, shown: `--${name}`, ...(long[2] === undefined ? {} : { value: long[2] }) };
  }
  const short = /^-([a-z])(?:=?(.+))?$/s.exec(word);
  const name = SHORT[short?.[1] ?? ''];
  if (short === null || name === undefined) {
    return /^-[a-zA-Z]/.test(word) ? { name: word.slice(1), shown: word } : { shown: word };
  }
  return { name, shown: `-${short[1]}`, ...(short[2] === undefined ? {} : { value: short[2] }) };
}

async function unknownFlag(
  name: string,
  value: string | undefined,
  names: readonly string[],
): Promise<{ readonly text: string; readonly level: PlacedFinding['level']; readonly alone: boolean }> {
  const { otherFlag, otherFlagNames } = await import('./other-flags.ts');
  const other = otherFlag(name, value);
  if (other !== undefined) return { text: other.message, level: other.level, alone: other.alone };
  const meant = nearMiss(name, [...names, ...otherFlagNames()]);
  const hint = meant === undefined ? '' : `; did you mean --${meant}?`;
  return { text: `is not a flag of deckhand, kubelet or kube-proxy${hint}`, level: 'error', alone: false };
}
