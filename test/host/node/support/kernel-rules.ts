import type { HarnessNode } from '../../../harness/harness-node.ts';
import { inNetns } from '../../../harness/netns.ts';
import { runCommand } from '../../../harness/run-command.ts';
import { waitFor } from '../../../harness/wait-for.ts';

/** The rules and chains that the node's namespace has, a line "table -A …" each, without counters. */
export async function kernelRules(node: HarnessNode): Promise<ReadonlySet<string>> {
  const saved = await runCommand(inNetns(node.netns, ['iptables-save']));
  const rules = new Set<string>();
  let table = '';
  for (const line of saved.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    else if (line.startsWith(':')) rules.add(`${table} ${line.split(' ')[0]}`);
    else if (line.startsWith('-A')) rules.add(`${table} ${line}`);
  }
  return rules;
}

export function missingFrom(after: ReadonlySet<string>, before: ReadonlySet<string>): string[] {
  return [...before].filter((rule) => !after.has(rule));
}

/**
 * Waits until a Service ("namespace/name") leads to so many endpoints, and returns all rules. A Service answers from its
 * first endpoint on; the rules of that one change when the next one comes, so that they are none to compare with later.
 */
export function rulesLeadingTo(node: HarnessNode, service: string, endpoints: number): Promise<ReadonlySet<string>> {
  return waitFor(`${service} to lead to ${endpoints} endpoints`, async () => {
    const rules = await kernelRules(node);
    const targets = [...rules].filter((rule) => rule.includes('-A KUBE-SVC-') && rule.includes(`"${service} -> `));
    return targets.length === endpoints && rules;
  });
}
