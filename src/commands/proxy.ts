export interface ExplainOptions {
  readonly from?: string;
  readonly to?: string;
  readonly output: 'text' | 'json';
  readonly metricsAddress: string;
}

/** `deckhand explain service NS/NAME`: what the Service leads to on this node and why, as the running daemon sees it. */
export async function explainService(service: string, options: ExplainOptions): Promise<number> {
  const { askProxy } = await import('../daemon.ts');
  const query = new URLSearchParams({ service: service.includes('/') ? service : `default/${service}` });
  if (options.from !== undefined) query.set('from', options.from);
  if (options.to !== undefined) query.set('to', options.to);
  query.set('output', options.output);
  process.stdout.write(await askProxy(options.metricsAddress, `/explain?${query}`));
  return 0;
}

/** `deckhand plan`: what the running daemon would write if it began anew; nothing is written. */
export async function planRules(options: Pick<ExplainOptions, 'output' | 'metricsAddress'>): Promise<number> {
  const { askProxy } = await import('../daemon.ts');
  const body = await askProxy(options.metricsAddress, '/plan');
  if (options.output === 'json') process.stdout.write(body);
  else {
    for (const { family, texts } of JSON.parse(body) as { family: string; texts: string[] }[]) {
      const text = texts.filter((one) => one !== '').join('\n');
      process.stdout.write(`# ${family}: ${text === '' ? 'nothing to write' : `\n${text}`}\n`);
    }
  }
  return 0;
}

/** `deckhand proxy cleanup`: takes away all Service rules of deckhand, and of kube-proxy where asked. */
export async function proxyCleanup({ kubeProxy }: { readonly kubeProxy?: boolean }): Promise<number> {
  const { cleanUpRules } = await import('../daemon.ts');
  const { removed, failures } = await cleanUpRules(kubeProxy === true);
  for (const what of removed) process.stdout.write(`removed ${what}\n`);
  if (removed.length === 0 && failures.length === 0) process.stdout.write('there was nothing to remove\n');
  for (const what of failures) process.stderr.write(`${what}\n`);
  return failures.length === 0 ? 0 : 1;
}
