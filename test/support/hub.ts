/** What the hub's API says of a repository. */
export function repositoryInfo(id: string, sha: string): object {
  return { _id: '1', id, sha, private: false, downloads: 0, gated: false, likes: 0, lastModified: '2026-01-01' };
}
