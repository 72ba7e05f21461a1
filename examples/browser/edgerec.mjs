// Open an onnx bundle in JavaScript and recommend from it. Needs onnxruntime-web alone.
//
//   import * as ort from "onnxruntime-web/wasm";
//   const scorer = await Scorer.open(await file.arrayBuffer(), ort);
//   for (const item of await scorer.recommend(["50", "172", "181"], 10)) console.log(item.title);

const MAGIC = "EDGEREC1";

/** The file format of docs/format.md: a header in JSON, then sections. */
export class Container {
  constructor(buffer) {
    this.buffer = buffer;
    const text = new TextDecoder();
    const magic = text.decode(new Uint8Array(buffer, 0, Math.min(8, buffer.byteLength)));
    if (magic !== MAGIC) throw new Error("not an edgerec file (it does not begin with EDGEREC1)");
    const length = Number(new DataView(buffer).getBigUint64(8, true));
    if (48 + length > buffer.byteLength) throw new Error("the file is damaged, load it again");
    const header = JSON.parse(text.decode(new Uint8Array(buffer, 48, length)));
    this.kind = header.kind;
    this.meta = header.meta;
    this.sections = header.sections;
  }

  /** A section's bytes, in place. */
  bytes(name) {
    const entry = this.sections[name];
    if (!entry) throw new Error(`the bundle has no section ${name}`);
    return new Uint8Array(this.buffer, entry.offset, entry.size);
  }

  /** A section as a typed array, in place; sections are aligned to 64 bytes. */
  array(name, type) {
    const { byteOffset, byteLength } = this.bytes(name);
    return new type(this.buffer, byteOffset, byteLength / type.BYTES_PER_ELEMENT);
  }

  /** Reject damage: bytes that are not those that were written. Insecure pages have no digests. */
  async verify() {
    if (!globalThis.crypto?.subtle) return;
    for (const [name, entry] of Object.entries(this.sections)) {
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", this.bytes(name)));
      const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
      if (hex !== entry.sha256) throw new Error(`section ${name} is damaged, load the file again`);
    }
  }
}

/** Strings stored as offsets into one text. */
class Strings {
  constructor(container, name) {
    this.offsets = container.array(`items/${name}/offsets`, Uint32Array);
    this.utf8 = container.bytes(`items/${name}/utf8`);
    this.text = new TextDecoder();
  }

  get length() {
    return this.offsets.length - 1;
  }

  at(row) {
    return this.text.decode(this.utf8.subarray(this.offsets[row], this.offsets[row + 1]));
  }
}

/** Recommends from a bundle, as edgerec.Scorer does in Python. */
export class Scorer {
  constructor(container, session, ort) {
    const { meta } = container;
    Object.assign(this, { meta, session, ort });
    this.ids = new Strings(container, "ids");
    this.titles = container.sections["items/titles/utf8"] ? new Strings(container, "titles") : this.ids;
    this.popular = container.array("popular", Int32Array);
    this.rows = new Map(Array.from({ length: this.ids.length }, (_, row) => [this.ids.at(row), row]));
  }

  static async open(buffer, ort) {
    const container = new Container(buffer);
    if (container.meta.target !== "onnx") {
      throw new Error(`expected a bundle of the target onnx, got ${container.meta.target}`);
    }
    await container.verify();
    // Tables are sections of their own, which the graph names as external data.
    const tables = Object.keys(container.sections)
      .filter((name) => name.startsWith("payload/") && name !== "payload/model.onnx")
      .map((name) => ({ path: name.slice("payload/".length), data: container.bytes(name) }));
    const session = await ort.InferenceSession.create(container.bytes("payload/model.onnx"), {
      executionProviders: ["wasm"],
      externalData: tables,
    });
    return new Scorer(container, session, ort);
  }

  /** The artefact itself: rows and scores for a history of rows, the most recent last. */
  async run(history) {
    const recent = history.slice(-this.meta.history_length);
    // A length that is a name may be any; without word of it, pad.
    const [input] = this.session.inputMetadata ?? [];
    const shorten = typeof input?.shape?.[0] === "string" && recent.length > 0;
    const length = shorten ? recent.length : this.meta.history_length;
    const rows = new Int32Array(length).fill(-1);
    const weights = new Float32Array(length);
    rows.set(recent);
    const whole = recent.length ** -this.meta.normalization;
    // The last is the most recent: the j-th from the end weighs j ** -recency.
    recent.forEach((_, place) => {
      weights[place] = whole * (recent.length - place) ** -this.meta.recency;
    });
    const { ids, scores } = await this.session.run({
      history: new this.ort.Tensor("int32", rows, [length]),
      weights: new this.ort.Tensor("float32", weights, [length]),
    });
    return { ids: ids.data, scores: scores.data };
  }

  /** The k best items that are not in the history, as {id, title, score}. */
  async recommend(history, k = 10) {
    const seen = new Set();
    for (const id of history) {
      const row = this.rows.get(String(id));
      if (row === undefined) continue;
      seen.delete(row); // an id that occurs twice counts once, at its most recent place
      seen.add(row);
    }
    const found = seen.size ? await this.run([...seen]) : { ids: this.popular, scores: [] };
    const items = Array.from(found.ids, (row, place) => ({ row, score: found.scores[place] ?? NaN }));
    if (seen.size > this.meta.history_length) {
      // Past items that the model did not read may take the places: popular ones follow.
      const listed = new Set(found.ids);
      const others = Array.from(this.popular).filter((row) => !listed.has(row));
      items.push(...others.map((row) => ({ row, score: NaN })));
    }
    return items
      .filter(({ row }) => !seen.has(row))
      .slice(0, k)
      .map(({ row, score }) => ({ id: this.ids.at(row), title: this.titles.at(row), score }));
  }
}
