// Drives a schema registry with @kafkajs/confluent-schema-registry, in all three formats.
//
// Usage: node kafkajs_client.js URL; NODE_PATH says where the package is. Exits 1 with what is not as it should be.
"use strict";

const assert = require("node:assert/strict");
const { SchemaRegistry, SchemaType } = require("@kafkajs/confluent-schema-registry");

const host = process.argv[2];
const reading = { device: "press-7", celsius: 21.5 };

// A registry with nothing cached, so that everything is fetched.
const fresh = () => new SchemaRegistry({ host, retry: { retries: 0 } });

async function roundTrip(schema, subject, value) {
  const { id } = await fresh().register(schema, { subject });
  assert.ok(Number.isInteger(id) && id > 0);
  assert.equal((await fresh().register(schema, { subject })).id, id, "registered once");
  const data = await fresh().encode(id, value);
  assert.equal(data[0], 0);
  assert.equal(data.readInt32BE(1), id);
  assert.deepEqual({ ...(await fresh().decode(data)) }, value);
  assert.equal(await fresh().getLatestSchemaId(subject), id);
  assert.equal(await fresh().getRegistryId(subject, 1), id);
  return id;
}

async function refused(status, call) {
  await assert.rejects(call, (error) => {
    assert.equal(error.status, status, error.message);
    return true;
  });
}

const record = (fields) => JSON.stringify({ type: "record", name: "Reading", namespace: "js", fields });
const fields = [
  { name: "device", type: "string" },
  { name: "celsius", type: "double" },
];

async function avro() {
  const schema = { type: SchemaType.AVRO, schema: record(fields) };
  const id = await roundTrip(schema, "js-avro-value", reading);
  assert.equal(await fresh().getRegistryIdBySchema("js-avro-value", schema), id);
  const broken = { type: SchemaType.AVRO, schema: record([...fields, { name: "line", type: "string" }]) };
  await refused(409, () => fresh().register(broken, { subject: "js-avro-value" }));
}

async function avroWithAReference() {
  const place = { type: "record", name: "Place", namespace: "js", fields: [{ name: "hall", type: "string" }] };
  await fresh().register({ type: SchemaType.AVRO, schema: JSON.stringify(place) }, { subject: "js-place" });
  const visit = { type: "record", name: "Visit", namespace: "js", fields: [{ name: "at", type: "js.Place" }] };
  const references = [{ name: "js.Place", subject: "js-place", version: 1 }];
  const schema = { type: SchemaType.AVRO, schema: JSON.stringify(visit), references };
  const { id } = await fresh().register(schema, { subject: "js-visit-value" });
  const data = await fresh().encode(id, { at: { hall: "north" } });
  assert.equal((await fresh().decode(data)).at.hall, "north");
}

async function json() {
  const schema = (celsius) => ({
    type: SchemaType.JSON,
    schema: JSON.stringify({
      type: "object",
      properties: { device: { type: "string" }, celsius: { type: celsius } },
      required: ["device"],
    }),
  });
  await roundTrip(schema("number"), "js-json-value", reading);
  await refused(409, () => fresh().register(schema("string"), { subject: "js-json-value" }));
}

async function jsonWithAReference() {
  const place = { $id: "https://example.com/place", type: "object", properties: { hall: { type: "string" } } };
  await fresh().register({ type: SchemaType.JSON, schema: JSON.stringify(place) }, { subject: "js-json-place" });
  const visit = { type: "object", properties: { at: { $ref: "https://example.com/place" } } };
  const references = [{ name: "https://example.com/place", subject: "js-json-place", version: 1 }];
  const schema = { type: SchemaType.JSON, schema: JSON.stringify(visit), references };
  const { id } = await fresh().register(schema, { subject: "js-json-visit-value" });
  const data = await fresh().encode(id, { at: { hall: "north" } });
  assert.deepEqual(await fresh().decode(data), { at: { hall: "north" } });
}

async function protobuf() {
  const schema = {
    type: SchemaType.PROTOBUF,
    schema: 'syntax = "proto3";\npackage js;\nmessage Reading {\n  string device = 1;\n  double celsius = 2;\n}\n',
  };
  await roundTrip(schema, "js-proto-value", reading);
}

async function protobufWithAReference() {
  const place = 'syntax = "proto3";\npackage js;\nmessage Place {\n  string hall = 1;\n}\n';
  await fresh().register({ type: SchemaType.PROTOBUF, schema: place }, { subject: "js/place.proto" });
  const visit =
    'syntax = "proto3";\npackage js;\nimport "js/place.proto";\nmessage Visit {\n  Place at = 1;\n}\n';
  const references = [{ name: "js/place.proto", subject: "js/place.proto", version: 1 }];
  const { id } = await fresh().register(
    { type: SchemaType.PROTOBUF, schema: visit, references },
    { subject: "js-proto-visit-value" },
  );
  const data = await fresh().encode(id, { at: { hall: "north" } });
  assert.equal((await fresh().decode(data)).at.hall, "north");
}

async function main() {
  const parts = [avro, avroWithAReference, json, jsonWithAReference, protobuf, protobufWithAReference];
  for (const part of parts) {
    await part();
    console.log("ok", part.name);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
