"""Messages to tensors and back.

Rooms, in reading order: tensors, parameters, texts, payload, binding, contents, prescan, v2_grpc, template, v2_grpc_answer,
v2_grpc_metadata, v2_model_config, json_strings, json_data, json_body, json_nested, json_rows, binary, v2_rest, rest_template, v1_values,
v1_rest, json_numbers, rest_answer, v1_answer, v1_metadata, drift_message.
"""
