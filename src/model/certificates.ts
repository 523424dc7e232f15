import type { KubeObject } from './meta.ts';

/** The signers that kube-controller-manager runs and that nodes or users ask (KEP-1513). */
export const SIGNERS = {
  kubeletClient: 'kubernetes.io/kube-apiserver-client-kubelet',
  kubeletServing: 'kubernetes.io/kubelet-serving',
  apiClient: 'kubernetes.io/kube-apiserver-client',
} as const;

/** Group and user name that the Node authorizer knows nodes by. */
export const NODES_ORGANIZATION = 'system:nodes';
export const NODE_USER_PREFIX = 'system:node:';

/** certificates.k8s.io/v1beta1. */
export interface ClusterTrustBundle extends KubeObject {
  spec: {
    signerName?: string;
    /** PEM text of certificates. */
    trustBundle: string;
  };
}

/** certificates.k8s.io/v1. */
export interface CertificateSigningRequest extends KubeObject {
  spec: {
    /** Base64 of the PEM text of a PKCS #10 request. */
    request: string;
    signerName: string;
    /** A wish: the signer may give less. */
    expirationSeconds?: number;
    usages?: string[];
    username?: string;
    uid?: string;
    groups?: string[];
    extra?: Record<string, readonly string[]>;
  };
  status?: {
    conditions?: CertificateSigningRequestCondition[];
    /** Base64 of the PEM text of the certificate and its chain. */
    certificate?: string;
  };
}

export interface CertificateSigningRequestCondition {
  type: 'Approved' | 'Denied' | 'Failed' | string;
  status: 'True' | 'False' | 'Unknown';
  reason?: string;
  message?: string;
  lastUpdateTime?: string;
  lastTransitionTime?: string;
}
