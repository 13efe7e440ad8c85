// Fails if a dependency has a known vulnerability. Prints a message and passes if the registry is unreachable.
import { spawnSync } from 'node:child_process';

const { stdout } = spawnSync('npm', ['audit', '--json', '--audit-level=moderate'], { encoding: 'utf8', shell: false });
const report = parsed(stdout);
if (!report?.metadata) {
  console.error('audit: the registry gave no advisories; dependencies were not audited');
} else {
  const { vulnerabilities } = report.metadata;
  const bad = ['moderate', 'high', 'critical'].filter((level) => vulnerabilities[level] > 0);
  for (const level of bad) console.error(`audit: ${vulnerabilities[level]} ${level}; see npm audit`);
  process.exitCode = bad.length > 0 ? 1 : 0;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
