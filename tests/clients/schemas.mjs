// Fifty schemas as clients write them: nested objects, enums, bounded arrays, unions, recursion,
// formats, numbers between bounds, references.
const object = (properties, more = {}) => ({
  type: "object", properties, required: Object.keys(properties), additionalProperties: false, ...more,
});
const string = { type: "string" }, integer = { type: "integer" }, number = { type: "number" };
const list = (items, more = {}) => ({ type: "array", items, ...more });
const format = (name) => object({ value: { type: "string", format: name } });

export const schemas = {
  plainObject: object({ name: string, age: integer }),
  optionalMembers: object({ a: string, b: integer, c: { type: "boolean" } }, { required: ["b"] }),
  allOptional: object({ x: number, y: number, z: number }, { required: [] }),
  nestedObjects: object({ user: object({ name: string, address: object({ city: string, zip: string }) }) }),
  enumOfStrings: object({ colour: { enum: ["red", "green", "blue"] } }),
  enumOfKinds: { enum: ["a", 1, 2.5, null, true, { k: [1, "x"] }, [1, 2]] },
  constants: object({ version: { const: 2 }, kind: { const: "report \"x\"\n\u00e9" } }),
  arrayOfStrings: list(string, { maxItems: 4 }),
  arrayWithBounds: list(integer, { minItems: 2, maxItems: 5 }),
  arrayExact: list({ type: "boolean" }, { minItems: 3, maxItems: 3 }),
  arrayOfObjects: list(object({ id: integer, tags: list(string, { maxItems: 2 }) }), { minItems: 1 }),
  emptyArrayOnly: list(string, { maxItems: 0 }),
  tuple: { type: "array", prefixItems: [string, integer, { type: "boolean" }], items: false, minItems: 3 },
  tupleWithRest: { type: "array", prefixItems: [string], items: integer, minItems: 2, maxItems: 4 },
  tupleShort: { type: "array", prefixItems: [string, integer], items: false },
  matrix: list(list(integer, { minItems: 2, maxItems: 2 }), { minItems: 2, maxItems: 2 }),
  anyOfTypes: { anyOf: [string, integer, { type: "null" }] },
  anyOfObjects: { anyOf: [object({ cat: string }), object({ dog: integer, age: number })] },
  oneOfByConst: {
    oneOf: [
      object({ kind: { const: "circle" }, radius: number }),
      object({ kind: { const: "square" }, side: number }),
    ],
  },
  oneOfByType: { oneOf: [string, list(string, { maxItems: 2 }), { type: "boolean" }] },
  oneOfByBounds: { oneOf: [{ type: "integer", maximum: 4 }, { type: "integer", minimum: 10, maximum: 99 }] },
  anyOfWithSiblings: {
    type: "object", properties: { id: integer }, required: ["id"],
    anyOf: [{ properties: { a: string }, required: ["a"] }, { properties: { b: string }, required: ["b"] }],
  },
  typeList: object({ value: { type: ["string", "number", "null"] } }),
  nullable: object({ note: { type: "string", nullable: true } }),
  allOfMerge: {
    allOf: [
      { type: "object", properties: { a: integer }, required: ["a"] },
      { properties: { a: { minimum: 3 }, b: string }, required: ["b"] },
    ],
  },
  inheritance: {
    $defs: { base: { type: "object", properties: { id: { type: "string", format: "uuid" } }, required: ["id"] } },
    allOf: [{ $ref: "#/$defs/base" }, { properties: { size: { enum: ["s", "m", "l"] } }, required: ["size"] }],
  },
  references: {
    type: "object", properties: { from: { $ref: "#/$defs/point" }, to: { $ref: "#/$defs/point" } },
    required: ["from", "to"], additionalProperties: false,
    $defs: { point: object({ x: { type: "integer", minimum: 0, maximum: 639 }, y: { type: "integer", minimum: 0, maximum: 479 } }) },
  },
  linkedList: {
    $ref: "#/$defs/node",
    $defs: { node: object({ value: integer, next: { anyOf: [{ type: "null" }, { $ref: "#/$defs/node" }] } }) },
  },
  tree: {
    $ref: "#/definitions/tree",
    definitions: {
      tree: object({ name: string, children: list({ $ref: "#/definitions/tree" }, { maxItems: 3 }) }, { required: ["name"] }),
    },
  },
  selfReference: { type: "object", properties: { left: { $ref: "#" }, right: { $ref: "#" }, key: integer }, required: ["key"], additionalProperties: false },
  expression: {
    $defs: {
      expression: {
        anyOf: [number, object({ op: { enum: ["+", "-", "*"] }, left: { $ref: "#/$defs/expression" }, right: { $ref: "#/$defs/expression" } })],
      },
    },
    $ref: "#/$defs/expression",
  },
  mutualRecursion: {
    $defs: {
      folder: object({ entries: list({ anyOf: [{ $ref: "#/$defs/folder" }, { $ref: "#/$defs/file" }] }) }),
      file: object({ bytes: { type: "integer", minimum: 0 } }),
    },
    $ref: "#/$defs/folder",
  },
  date: format("date"),
  time: format("time"),
  dateTime: format("date-time"),
  uuid: format("uuid"),
  email: format("email"),
  addresses: object({ v4: { type: "string", format: "ipv4" }, v6: { type: "string", format: "ipv6" } }),
  links: object({ page: { type: "string", format: "uri" }, host: { type: "string", format: "hostname" } }),
  duration: format("duration"),
  stringLengths: object({ code: { type: "string", minLength: 3, maxLength: 8 }, long: { type: "string", minLength: 20 } }),
  patterns: object({
    plate: { type: "string", pattern: "^[A-Z]{2}-[0-9]{3}$" },
    path: { type: "string", pattern: "^(/[a-z\"\\\\]+){1,3}$" },
    found: { type: "string", pattern: "b\\d+", },
  }),
  integerBounds: object({
    percent: { type: "integer", minimum: 0, maximum: 100 },
    below: { type: "integer", exclusiveMaximum: -17 },
    odd: { type: "integer", minimum: -5, maximum: 12345 },
    year: { type: "integer", exclusiveMinimum: 1899, maximum: 2199 },
  }),
  numberBounds: object({
    share: { type: "number", minimum: 0, maximum: 1 },
    celsius: { type: "number", minimum: -273.15 },
    open: { type: "number", exclusiveMinimum: 0, exclusiveMaximum: 0.5 },
    narrow: { type: "number", minimum: 0.125, maximum: 0.375 },
    negative: { type: "number", minimum: -2.5, maximum: -1.25 },
  }),
  multiples: object({ step: { type: "integer", multipleOf: 5, minimum: 0, maximum: 100 }, any: { type: "integer", multipleOf: 12 } }),
  mapOfNumbers: { type: "object", additionalProperties: number, maxProperties: 4 },
  mapBesideNames: { type: "object", properties: { name: string, na: integer }, required: ["name"], additionalProperties: integer },
  requiredUnnamed: { type: "object", properties: { a: string }, required: ["a", "b"] },
  freeObject: { type: "object" },
  invoice: object({
    id: { type: "string", pattern: "^INV-[0-9]{6}$" },
    issued: { type: "string", format: "date" },
    lines: list(object({ text: { type: "string", maxLength: 30 }, count: { type: "integer", minimum: 1, maximum: 99 }, price: { type: "number", minimum: 0 } }), { minItems: 1, maxItems: 3 }),
    paid: { type: "boolean" },
    customer: { anyOf: [object({ company: string, vat: string }), object({ person: string })] },
  }, { required: ["id", "issued", "lines", "customer"] }),
};
