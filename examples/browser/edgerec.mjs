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
  constructor(container, name, folder = "items") {
    this.offsets = container.array(`${folder}/${name}/offsets`, Uint32Array);
    this.utf8 = container.bytes(`${folder}/${name}/utf8`);
    this.text = new TextDecoder();
  }

  get length() {
    return this.offsets.length - 1;
  }

  at(row) {
    return this.text.decode(this.utf8.subarray(this.offsets[row], this.offsets[row + 1]));
  }
}

/** A place per label, which is 1 if the label applies. */
function labeled({ name, labels }, value) {
  const given = value === null ? [] : [value].flat().map(String);
  const wrong = given.find((label) => !labels.includes(label));
  if (wrong !== undefined) throw new Error(`context.${name}: unknown label ${wrong}`);
  return labels.map((label) => Number(given.includes(label)));
}

/** The rank of a number, on a line between those of its neighbors; 0 if it is not known. */
function ranked({ name, values, ranks }, value) {
  if (value === null) return [0];
  if (!Number.isFinite(value)) throw new Error(`context.${name}: expected a number`);
  const above = values.findIndex((one) => one >= value);
  if (above <= 0) return [ranks.at(above)];
  const share = (value - values[above - 1]) / (values[above] - values[above - 1]);
  return [ranks[above - 1] + share * (ranks[above] - ranks[above - 1])];
}

/** Rows that the graph score.onnx takes at a time. */
const CANDIDATES = 256;

/** Recommends from a bundle of signature 2, as edgerec.Scorer does in Python. */
export class Scorer {
  constructor(container, session, ort) {
    const { meta } = container;
    Object.assign(this, { container, meta, session, ort });
    this.ids = new Strings(container, "ids");
    this.titles = container.sections["items/titles/utf8"] ? new Strings(container, "titles") : this.ids;
    this.popular = container.array("popular", Int32Array);
    this.rows = Scorer.rows(this.ids);
    // Past items may be others than those to recommend.
    this.past = container.sections["past/ids/utf8"]
      ? Scorer.rows(new Strings(container, "ids", "past"))
      : this.rows;
  }

  static rows(ids) {
    return new Map(Array.from({ length: ids.length }, (_, row) => [ids.at(row), row]));
  }

  static async open(buffer, ort) {
    const container = new Container(buffer);
    const { target, signature } = container.meta;
    if (target !== "onnx" || signature !== 2) {
      throw new Error(`expected a bundle of onnx, signature 2, got ${target}, ${signature ?? 1}`);
    }
    await container.verify();
    return new Scorer(container, await Scorer.session(container, "model.onnx", ort), ort);
  }

  /** Open a graph of the bundle. Tables are sections of their own, which it names as external data. */
  static session(container, graph, ort) {
    const externalData = Object.keys(container.sections)
      .filter((name) => name.startsWith("payload/") && !name.endsWith(".onnx"))
      .map((name) => ({ path: name.slice("payload/".length), data: container.bytes(name) }));
    return ort.InferenceSession.create(container.bytes(`payload/${graph}`), {
      executionProviders: ["wasm"],
      externalData,
    });
  }

  /** The inputs of both graphs: a history of rows, the most recent last, and what else is declared. */
  feed(history, inputs = {}) {
    const length = this.meta.history_length;
    const recent = history.slice(-length);
    const rows = new Int32Array(length).fill(-1);
    rows.set(recent, length - recent.length);
    const feed = { history: new this.ort.Tensor("int32", rows, [length]) };
    for (const [name, size] of Object.entries(this.meta.inputs)) {
      let values = inputs[name];
      if (name === "weights") {
        const given = (values ?? history.map(() => 1)).slice(-length);
        values = [...new Array(length - given.length).fill(0), ...given];
      }
      if (name === "context" && values && values.length === undefined) values = this.code(values);
      if (values?.length !== size) throw new Error(`${name}: expected ${size} numbers`);
      feed[name] = new this.ort.Tensor("float32", Float32Array.from(values), [size]);
    }
    return feed;
  }

  /** What is known of the user, by name, as the numbers of the input context. */
  code(known) {
    const parts = this.meta.metadata.context;
    if (!Array.isArray(parts)) throw new Error("context: the model has no names for it; pass numbers");
    const names = parts.map(({ name }) => name);
    const unknown = Object.keys(known).filter((name) => !names.includes(name));
    if (unknown.length) throw new Error(`context: the model does not read ${unknown}, but ${names}`);
    return parts.flatMap((part) => (part.labels ? labeled : ranked)(part, known[part.name] ?? null));
  }

  /** The artefact itself: unseen rows, then -1, and scores, for a history of rows. */
  async run(history, inputs) {
    const { ids, scores, user } = await this.session.run(this.feed(history, inputs));
    return { ids: ids.data, scores: scores.data, user: user.data };
  }

  /** The scores of rows for a history of rows. */
  async score(history, rows, inputs) {
    this.scoring ??= await Scorer.session(this.container, "score.onnx", this.ort);
    const scores = [];
    for (let start = 0; start < rows.length; start += CANDIDATES) {
      const part = Int32Array.from({ length: CANDIDATES }, (_, place) => rows[start + place] ?? -1);
      const feed = this.feed(history, inputs);
      feed.rows = new this.ort.Tensor("int32", part, [CANDIDATES]);
      const found = await this.scoring.run(feed);
      scores.push(...found.scores.data.subarray(0, rows.length - start));
    }
    return scores;
  }

  /** The k best items, as {id, title, score}. Ids that the catalogue does not have are skipped. */
  async recommend(history, k = 10, inputs = {}) {
    const known = history.map((id, place) => [this.past.get(String(id)), place]);
    let past = known.filter(([row]) => row !== undefined);
    if (this.meta.repeats === "merge") {
      // An id that occurs twice counts once, at its most recent place.
      const latest = new Map(past);
      past = past.filter(([row, place]) => latest.get(row) === place);
    }
    const rows = past.map(([row]) => row);
    const own = { ...inputs };
    if (inputs.weights) own.weights = past.map(([, place]) => inputs.weights[place]);
    const seen = new Set(this.meta.drop_seen ? history.map((id) => this.rows.get(String(id))) : []);
    let items;
    if (rows.length) {
      const { ids, scores } = await this.run(rows, own);
      items = Array.from(ids, (row, place) => ({ row, score: scores[place] }));
      items = items.filter(({ row }) => row >= 0 && !seen.has(row));
    } else {
      const order = new Set([...this.popular, ...this.rows.values()]);
      items = Array.from(order, (row) => ({ row, score: NaN }));
    }
    if (items.length < k && rows.length > this.meta.history_length) {
      // Past items that the model did not read took places: score all others.
      const listed = new Set([...seen, ...items.map(({ row }) => row)]);
      const others = [...this.rows.values()].filter((row) => !listed.has(row));
      const scores = await this.score(rows, others, own);
      const more = others.map((row, place) => ({ row, score: scores[place] }));
      items.push(...more.sort((a, b) => b.score - a.score));
    }
    return items
      .slice(0, k)
      .map(({ row, score }) => ({ id: this.ids.at(row), title: this.titles.at(row), score }));
  }
}
