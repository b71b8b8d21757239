// Loads the page's modules into Node, which takes a bare .js file for CommonJS: each becomes a data address.
import { readFile } from 'node:fs/promises';

const WEB = new URL('../../crates/spandrel-download-service/web/', import.meta.url);

/** A module and all it imports; `before` is put in front of each. */
async function address(name, before) {
  let source = await readFile(new URL(name, WEB), 'utf8');
  for (const [whole, file] of source.matchAll(/(?<=^(?:import|export|\}) .*)from '\.\/(\w+\.js)'/gm)) source = source.replace(whole, `from '${await address(file, before)}'`);
  return `data:text/javascript;base64,${Buffer.from(before + source).toString('base64')}`;
}
export const load = async (name, before = '') => import(await address(name, before));
