//! Files that may be imported without being registered.

use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;

/// Annotations of fields and messages in Confluent's data contracts.
const META: &str = r#"
syntax = "proto3";
package confluent;
import "google/protobuf/descriptor.proto";
message Meta {
  string doc = 1;
  map<string, string> params = 2;
  repeated string tags = 3;
}
extend google.protobuf.FileOptions { Meta file_meta = 1088; }
extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
"#;

/// How Kafka Connect's converters write decimals.
const DECIMAL: &str = r#"
syntax = "proto3";
package confluent.type;
message Decimal {
  bytes value = 1;
  uint32 precision = 2;
  int32 scale = 3;
}
"#;

/// The file by its import path.
pub fn file(name: &str) -> Option<FileDescriptorProto> {
    let own = |text| protox_parse::parse(name, text).ok();
    match name {
        "confluent/meta.proto" => own(META),
        "confluent/type/decimal.proto" => own(DECIMAL),
        _ => {
            let file = DescriptorPool::global().get_file_by_name(name)?;
            Some(file.file_descriptor_proto().clone())
        }
    }
}
