import { basename } from 'node:path';

/** A snapshot in the cache that Hugging Face tools share. Source: huggingface_hub, its cache layout. */
const SNAPSHOT = /(?:^|[/\\])models--([^/\\]+)[/\\]snapshots[/\\][^/\\]+[/\\]*$/;

/** The name of a model for people: that of the repository for a snapshot of the hub's cache, else that of the folder. */
export function nameOfFolder(path: string): string {
  const repository = SNAPSHOT.exec(path)?.[1];
  return repository === undefined ? basename(path) : repository.replaceAll('--', '/');
}
