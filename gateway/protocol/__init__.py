"""Messages to tensors and back.

Rooms, in reading order: tensors, parameters, payload, binding, v2_grpc, template, json_data, json_body, json_answer, binary, v2_rest.
"""
