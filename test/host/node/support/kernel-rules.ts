import { resources } from '../../../../src/model/resource.ts';
import type { Service } from '../../../../src/model/service.ts';
import type { HarnessNode } from '../../../harness/harness-node.ts';
import { inNetns } from '../../../harness/netns.ts';
import { contentOf } from '../../../harness/nft-content.ts';
import { runCommand, tryCommand } from '../../../harness/run-command.ts';
import { waitFor } from '../../../harness/wait-for.ts';

const SETTLED_MS = 1_000;

/** What deckhand's table in the node's namespace says, a line for each rule and element; nothing without a table. */
export async function kernelRules(node: HarnessNode): Promise<ReadonlySet<string>> {
  const { stdout } = await tryCommand(inNetns(node.netns, ['nft', '-n', 'list', 'table', 'ip', 'deckhand']));
  return new Set(contentOf(stdout));
}

/** Every rule of anybody's goes, as with the power. */
export async function loseRules(node: HarnessNode): Promise<void> {
  await runCommand(inNetns(node.netns, ['nft', 'flush', 'ruleset']));
}

export function missingFrom(after: ReadonlySet<string>, before: ReadonlySet<string>): string[] {
  return [...before].filter((rule) => !after.has(rule));
}

/**
 * Waits until a Service ("namespace/name") leads to so many endpoints, and returns all rules. A Service answers from its
 * first endpoint on; the rules of that one change when the next one comes, so that they are none to compare with later.
 */
export async function rulesLeadingTo(
  node: HarnessNode,
  service: string,
  endpoints: number,
): Promise<ReadonlySet<string>> {
  const address = await addressOf(node, service);
  let last = { text: '', since: 0 };
  return waitFor(`${service} to lead to ${endpoints} endpoints`, async () => {
    const rules = await kernelRules(node);
    const targets = [...rules].filter((rule) => rule.startsWith(`endpoints { ${address} . `));
    // What led to fewer of them is taken away by a transaction of its own, a little later.
    const text = [...rules].join('\n');
    if (text !== last.text) last = { text, since: performance.now() };
    return targets.length === endpoints && performance.now() - last.since > SETTLED_MS && rules;
  });
}

/** The address by which a Service's rules are told from others'. */
export async function addressOf(node: HarnessNode, service: string): Promise<string> {
  const [namespace = '', name = ''] = service.split('/');
  const { spec } = await node.deckhand.api.get<Service>(resources.services, namespace, name);
  return spec.clusterIP ?? '';
}
