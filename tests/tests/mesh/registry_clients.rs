//! Clients that were written for the Confluent Schema Registry, unmodified, against the one in the mesh.

use tributary_tests::{confluent_kafka, kafkajs};

use crate::{mesh, temp_dir, tools};

/// The parts that a script reports, each when it went well.
fn assert_parts(said: Result<String, String>, parts: usize) {
    let said = said.unwrap_or_else(|said| panic!("the client is not served as it should be:\n{said}"));
    let done = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(done, parts, "{said}");
}

#[test]
fn pythons_confluent_kafka_works_unmodified_in_all_three_formats() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    let test = "pythons_confluent_kafka_works_unmodified_in_all_three_formats";
    if let Some(said) = confluent_kafka(test, tools(), &mesh.ready().registry) {
        assert_parts(said, 6);
    }
}

#[test]
fn the_npm_client_works_unmodified_in_all_three_formats() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    let test = "the_npm_client_works_unmodified_in_all_three_formats";
    if let Some(said) = kafkajs(test, tools(), &mesh.ready().registry) {
        assert_parts(said, 6);
    }
}
