// Prints raw, gzip and brotli size of each file named on the command line, one JSON array for each.
import { readFileSync } from 'node:fs';
import { argv } from 'node:process';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const sizes = argv.slice(1).map((file) => {
  const bytes = readFileSync(file);
  const gzip = gzipSync(bytes, { level: 9 });
  const brotli = brotliCompressSync(bytes, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_LGWIN]: 24,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  });
  return [bytes.length, gzip.length, brotli.length];
});
console.log(JSON.stringify(sizes));
