interface Given {
  readonly name: string;
  /** Types of files that the browser offers, as in HTML. */
  readonly accept: string;
  readonly onFile: (file: File) => void;
}

/** An invisible input of a file, inside a label that stands for it. */
export function FileInput({ name, accept, onFile }: Given) {
  return (
    <input
      type="file"
      class="unseen"
      name={name}
      accept={accept}
      onChange={({ currentTarget }) => {
        const file = currentTarget.files?.item(0);
        if (file) onFile(file);
        // The same file may be chosen again.
        currentTarget.value = '';
      }}
    />
  );
}
