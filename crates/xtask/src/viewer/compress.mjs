// Writes FILE.br and FILE.gz beside each file named on standard input, one a line, where that makes it smaller.
import { readFile, writeFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const WORTH = 0.95;

async function write(file, ending, bytes, plain) {
  if (bytes.length < plain.length * WORTH) await writeFile(`${file}.${ending}`, bytes);
}

async function compressed(file) {
  const plain = await readFile(file);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: 9,
    [constants.BROTLI_PARAM_LGWIN]: 22,
    [constants.BROTLI_PARAM_SIZE_HINT]: plain.length,
  };
  await write(file, "br", await promisify(brotliCompress)(plain, { params }), plain);
  await write(file, "gz", await promisify(gzip)(plain, { level: 9 }), plain);
}

const files = (await text(process.stdin)).split("\n").filter(Boolean);
await Promise.all(files.map(compressed));
