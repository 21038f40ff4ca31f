// Arrays of numpy out of an .npz file: a zip of .npy files, each stored or deflated.

// {shape, data} of one little-endian float32 array of the file.
export async function readArray(address, name) {
  const bytes = await (await fetch(address)).arrayBuffer();
  const entry = entries(new DataView(bytes)).find((one) => one.name === `${name}.npy`);
  if (!entry) throw new Error(`${address} has no array ${name}`);
  return parse(await unpack(bytes, entry));
}

function entries(view) {
  let end = view.byteLength - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error("this is no zip file");
  const found = [];
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const [nameLength, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    found.push({
      name: new TextDecoder().decode(new Uint8Array(view.buffer, at + 46, nameLength)),
      method: view.getUint16(at + 10, true),
      size: view.getUint32(at + 20, true),
      start: view.getUint32(at + 42, true),
    });
    at += 46 + nameLength + extra + comment;
  }
  return found;
}

async function unpack(bytes, { start, size, method }) {
  const view = new DataView(bytes);
  const begin = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
  const packed = new Uint8Array(bytes, begin, size);
  if (method === 0) return packed.slice().buffer;
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).arrayBuffer();
}

function parse(buffer) {
  const view = new DataView(buffer);
  const long = view.getUint8(6) >= 2;
  const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const begin = long ? 12 : 10;
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, begin, length));
  if (!header.includes("'<f4'") || !/'fortran_order': False/.test(header)) throw new Error(`an array of another kind: ${header}`);
  const shape = /\(([^)]*)\)/.exec(header)[1].split(",").filter((part) => part.trim()).map(Number);
  return { shape, data: new Float32Array(buffer.slice(begin + length)) };
}
