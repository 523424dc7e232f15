import { describe, expect, test } from 'vitest';
import { checkServiceIdentity } from '../../../src/daemon/service-identity.ts';
import { CodedError, type ErrorCode } from '../../../src/kit/errors.ts';
import { type Logger, silent } from '../../../src/kit/log.ts';
import { MemoryApi } from '../cluster/memory-api.ts';

async function told(forbidden: readonly string[], code: ErrorCode, proxyKubeconfig?: string): Promise<string[]> {
  const api = new MemoryApi();
  api.onRequest = ({ verb, type }) => {
    if (forbidden.includes(type.plural)) throw new CodedError(code, `${verb} ${type.plural}: ${code}`);
  };
  const errors: string[] = [];
  const log: Logger = { ...silent, error: (_fields, message) => void errors.push(message) };
  await checkServiceIdentity({ kubeconfig: '/etc/node.conf', proxyKubeconfig }, { api, log });
  return errors;
}

describe('checkServiceIdentity', () => {
  test('says nothing when all may be read, and nothing of what passes by itself', async () => {
    expect(await told([], 'Forbidden')).toEqual([]);
    expect(await told(['services', 'endpointslices'], 'Unavailable')).toEqual([]);
  });

  // What RBAC and the node authorizer allow system:node.
  test('a node’s identity without that of kube-proxy: whose it is and what to do', async () => {
    expect(await told(['endpointslices'], 'Forbidden')).toEqual([
      expect.stringMatching(
        /^the identity of --kubeconfig \/etc\/node\.conf may not list endpointslices.*--proxy-kubeconfig.*system:node-proxier/,
      ),
    ]);
  });

  test('a second identity that is no better', async () => {
    expect(await told(['services', 'endpointslices'], 'Unauthorized', '/etc/proxy.conf')).toEqual([
      expect.stringContaining('of --proxy-kubeconfig /etc/proxy.conf may not list services'),
      expect.stringContaining('of --proxy-kubeconfig /etc/proxy.conf may not list endpointslices'),
    ]);
  });
});
