/** Chooses files of a repository from all of its paths. @param folder has the files that were chosen before */
export type Selection = (paths: readonly string[], folder: string) => Promise<readonly string[]>;
