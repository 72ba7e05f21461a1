// Run bundles in onnxruntime-web, its WebAssembly build, under Node: see test_web.py.
// Arguments: a folder with onnxruntime-web, the module of examples/browser, a job as JSON.
import fs from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, module, job] = process.argv.slice(2);
const { Scorer } = await import(pathToFileURL(module));
const require = createRequire(`${folder}/package.json`);
const ort = await import(pathToFileURL(require.resolve("onnxruntime-web")));
ort.env.wasm.numThreads = 1;

const { bundle, histories, pasts, situations = [] } = JSON.parse(fs.readFileSync(job, "utf-8"));
const content = fs.readFileSync(bundle);
const scorer = await Scorer.open(content.buffer.slice(0, content.byteLength), ort);
const runs = [];
for (const { history, candidates, ...inputs } of histories) {
  const { ids, scores, user } = await scorer.run(history, inputs);
  const scored = await scorer.score(history, candidates, inputs);
  runs.push([ids, scores, user, scored].map((one) => Array.from(one)));
}
const lists = [];
for (const past of pasts) {
  lists.push(await scorer.recommend(past, 10));
}
const situated = [];
for (const { past, context } of situations) {
  situated.push([scorer.code(context), await scorer.recommend(past, 10, { context })]);
}
console.log(JSON.stringify({ runs, lists, situated }));
