"""Drives a schema registry with confluent-kafka's own client, serializers and deserializers.

Usage: confluent_kafka_client.py URL. Ends with a traceback when something is not as it should be.
"""

import json
import sys

from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    ServerConfig,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

READING = {"device": "press-7", "celsius": 21.5}


def value_of(topic):
    return SerializationContext(topic, MessageField.VALUE)


def refused(status, call):
    """Calls, and returns the error that must come."""
    try:
        call()
    except SchemaRegistryError as error:
        assert error.http_status_code == status, error
        return error
    raise AssertionError(f"expected status {status}")


def same(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


# --- Avro ---


def avro(fields):
    return json.dumps({"type": "record", "name": "Reading", "namespace": "plant", "fields": fields})


AVRO_1 = [{"name": "device", "type": "string"}, {"name": "celsius", "type": "double"}]
AVRO_2 = AVRO_1 + [{"name": "unit", "type": "string", "default": "C"}]
AVRO_BROKEN = AVRO_1 + [{"name": "line", "type": "string"}]


def avro_round_trip(client):
    context = value_of("py-avro")
    old = AvroSerializer(client, avro(AVRO_1))(READING, context)
    same(old[0], 0)
    read_old_as_new = AvroDeserializer(client, avro(AVRO_2))
    same(read_old_as_new(old, context), {**READING, "unit": "C"})
    new = AvroSerializer(client, avro(AVRO_2))({**READING, "unit": "F"}, context)
    same(AvroDeserializer(client)(new, context), {**READING, "unit": "F"})
    error = refused(409, lambda: AvroSerializer(client, avro(AVRO_BROKEN))({**READING, "line": "a"}, context))
    assert "line" in str(error), error
    same(client.get_versions("py-avro-value"), [1, 2])


def avro_with_a_reference(client):
    place = {"type": "record", "name": "Place", "namespace": "plant", "fields": [{"name": "hall", "type": "string"}]}
    client.register_schema("py-place", Schema(json.dumps(place), "AVRO"))
    visit = {
        "type": "record",
        "name": "Visit",
        "namespace": "plant",
        "fields": [{"name": "at", "type": "plant.Place"}],
    }
    schema = Schema(json.dumps(visit), "AVRO", [SchemaReference("plant.Place", "py-place", 1)])
    context = value_of("py-avro-ref")
    data = AvroSerializer(client, schema)({"at": {"hall": "north"}}, context)
    fresh = SchemaRegistryClient(client._rest_client.base_urls and {"url": client._rest_client.base_urls[0]})
    same(AvroDeserializer(fresh)(data, context), {"at": {"hall": "north"}})
    ids = client.get_referenced_by("py-place", 1) if hasattr(client, "get_referenced_by") else None
    if ids is not None:
        same(len(ids), 1)
    refused(422, lambda: client.delete_subject("py-place"))


# --- JSON Schema ---


def json_schema(celsius, references=None):
    return json.dumps(
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Reading",
            "type": "object",
            "properties": {"device": {"type": "string"}, "celsius": {"type": celsius}},
            "required": ["device"],
        }
    )


def json_round_trip(client):
    context = value_of("py-json")
    reading = {"device": "press-7", "celsius": 21}
    old = JSONSerializer(json_schema("integer"), client)(reading, context)
    same(json.loads(old[5:]), reading)
    JSONSerializer(json_schema("number"), client)(READING, context)
    same(JSONDeserializer(json_schema("number"))(old, context), reading)
    same(JSONDeserializer(None, schema_registry_client=client)(old, context), reading)
    error = refused(409, lambda: JSONSerializer(json_schema("string"), client)({"device": "x"}, context))
    assert "celsius" in str(error), error


def json_with_a_reference(client):
    place = {"$id": "place.json", "type": "object", "properties": {"hall": {"type": "string"}}}
    client.register_schema("py-json-place", Schema(json.dumps(place), "JSON"))
    visit = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Visit",
        "type": "object",
        "properties": {"at": {"$ref": "place.json"}},
    }
    schema = Schema(json.dumps(visit), "JSON", [SchemaReference("place.json", "py-json-place", 1)])
    context = value_of("py-json-ref")
    data = JSONSerializer(schema, client)({"at": {"hall": "north"}}, context)
    same(JSONDeserializer(schema, schema_registry_client=client)(data, context), {"at": {"hall": "north"}})


# --- Protobuf ---


def protobuf_messages():
    """The classes of a file that imports another one, without a compiler."""
    field = descriptor_pb2.FieldDescriptorProto
    place = descriptor_pb2.FileDescriptorProto(name="py/place.proto", package="plant", syntax="proto3")
    message = place.message_type.add(name="Place")
    message.field.add(name="hall", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    reading = descriptor_pb2.FileDescriptorProto(
        name="py/reading.proto", package="plant", syntax="proto3", dependency=["py/place.proto"]
    )
    unused = reading.message_type.add(name="Unused")
    unused.field.add(name="nothing", number=1, type=field.TYPE_BOOL, label=field.LABEL_OPTIONAL)
    message = reading.message_type.add(name="Reading")
    message.field.add(name="device", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    message.field.add(name="celsius", number=2, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL)
    message.field.add(
        name="at", number=3, type=field.TYPE_MESSAGE, type_name=".plant.Place", label=field.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(place)
    pool.Add(reading)
    get = lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    return get("plant.Reading"), get("plant.Place")


def protobuf_round_trip(client):
    reading_class, place_class = protobuf_messages()
    context = value_of("py-proto")
    reading = reading_class(device="press-7", celsius=21.5, at=place_class(hall="north"))
    data = ProtobufSerializer(reading_class, client)(reading, context)
    same(data[0], 0)
    same(data[5], 2)  # one index follows: Reading is the second message
    same(ProtobufDeserializer(reading_class)(data, context), reading)
    same(ProtobufDeserializer(reading_class, {}, client)(data, context), reading)
    registered = client.get_latest_version("py-proto-value")
    same(registered.schema.schema_type, "PROTOBUF")
    same([reference.name for reference in registered.schema.references], ["py/place.proto"])
    same(client.get_subjects(subject_prefix="py/place")[:1], ["py/place.proto"])
    assert "message Reading" in registered.schema.schema_str, "text that other clients can read"


# --- the client by itself ---


def administration(client):
    same(sorted(client.get_schema_types()), ["AVRO", "JSON", "PROTOBUF"])
    subject = "py admin/値"
    schema = Schema(avro(AVRO_1), "AVRO")
    number = client.register_schema(subject, schema)
    same(client.register_schema(subject, schema), number)
    same(client.lookup_schema(subject, schema).version, 1)
    same(client.get_latest_version(subject).schema_id, number)
    same(client.get_version(subject, 1).subject, subject)
    assert subject in client.get_subjects()
    assert subject in client.get_subjects_by_schema_id(number)
    assert any(found.subject == subject for found in client.get_schema_versions(number))
    same(client.test_compatibility(subject, Schema(avro(AVRO_2), "AVRO")), True)
    same(client.test_compatibility(subject, Schema(avro(AVRO_BROKEN), "AVRO")), False)
    same(client.test_compatibility_all_versions(subject, Schema(avro(AVRO_2), "AVRO")), True)

    same(refused(404, lambda: client.get_compatibility(subject)).error_code, 40408)
    client.set_compatibility(subject, "FULL_TRANSITIVE")
    same(client.get_compatibility(subject), "FULL_TRANSITIVE")
    client.set_config(subject, ServerConfig(compatibility=ConfigCompatibilityLevel.NONE))
    client.get_config(subject)
    client.register_schema(subject, Schema(avro(AVRO_BROKEN), "AVRO"))
    client.delete_config(subject)
    same(refused(422, lambda: client.set_compatibility(subject, "SOME")).error_code, 42203)
    same(client.get_compatibility(), "BACKWARD")

    same(client.get_global_mode(), "READWRITE")
    same(client.update_mode(subject, "READONLY"), "READONLY")
    same(client.get_mode(subject), "READONLY")
    same(refused(422, lambda: client.register_schema(subject, Schema(avro(AVRO_2), "AVRO"))).error_code, 42205)
    client.delete_mode(subject)

    same(client.delete_version(subject, 2), 2)
    same(client.delete_subject(subject), [1])
    assert subject not in client.get_subjects()
    assert subject in client.get_subjects(deleted=True)
    same(client.delete_subject(subject, permanent=True), [1, 2])
    same(refused(404, lambda: client.get_versions(subject)).error_code, 40401)
    same(client.get_contexts(), ["."])


def main():
    client = SchemaRegistryClient({"url": sys.argv[1]})
    for part in (
        avro_round_trip,
        avro_with_a_reference,
        json_round_trip,
        json_with_a_reference,
        protobuf_round_trip,
        administration,
    ):
        part(client)
        print("ok", part.__name__, flush=True)


if __name__ == "__main__":
    main()
