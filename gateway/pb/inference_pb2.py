"""Generated from proto/inference.proto by `make proto`; edit that instead."""

from gateway.pb import model_config_pb2 as _model_config_pb2
from gateway.pb.pool import register

DESCRIPTOR, _names = register(
    b"\n\x0finference.proto\x12\tinference\x1a\x12model_conf"
    b'ig.proto"\x13\n\x11ServerLiveRequest"(\n\x12ServerL'
    b'iveResponse\x12\x12\n\x04live\x18\x01 \x01(\x08R\x04live"\x14\n\x12Serve'
    b'rReadyRequest"+\n\x13ServerReadyResponse\x12\x14\n\x05'
    b'ready\x18\x01 \x01(\x08R\x05ready"A\n\x11ModelReadyRequest\x12'
    b"\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x18\n\x07version\x18\x02 \x01(\tR\x07ve"
    b'rsion"*\n\x12ModelReadyResponse\x12\x14\n\x05ready\x18\x01 \x01'
    b'(\x08R\x05ready"\x17\n\x15ServerMetadataRequest"f\n\x16Se'
    b"rverMetadataResponse\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name"
    b"\x12\x18\n\x07version\x18\x02 \x01(\tR\x07version\x12\x1e\n\nextensions"
    b'\x18\x03 \x03(\tR\nextensions"D\n\x14ModelMetadataReque'
    b"st\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x18\n\x07version\x18\x02 \x01(\tR"
    b'\x07version"\xe0\x03\n\x15ModelMetadataResponse\x12\x12\n\x04na'
    b"me\x18\x01 \x01(\tR\x04name\x12\x1a\n\x08versions\x18\x02 \x03(\tR\x08versio"
    b"ns\x12\x1a\n\x08platform\x18\x03 \x01(\tR\x08platform\x12G\n\x06inputs"
    b"\x18\x04 \x03(\x0b2/.inference.ModelMetadataResponse"
    b".TensorMetadataR\x06inputs\x12I\n\x07outputs\x18\x05 \x03(\x0b"
    b"2/.inference.ModelMetadataResponse.Tenso"
    b"rMetadataR\x07outputs\x12P\n\nproperties\x18\x06 \x03(\x0b20"
    b".inference.ModelMetadataResponse.Propert"
    b"iesEntryR\nproperties\x1aV\n\x0eTensorMetadata\x12\x12"
    b"\n\x04name\x18\x01 \x01(\tR\x04name\x12\x1a\n\x08datatype\x18\x02 \x01(\tR\x08da"
    b"tatype\x12\x14\n\x05shape\x18\x03 \x03(\x03R\x05shape\x1a=\n\x0fProperti"
    b"esEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12\x14\n\x05value\x18\x02 \x01(\t"
    b'R\x05value:\x028\x01"\xd7\x01\n\x0eInferParameter\x12\x1f\n\nbool_p'
    b"aram\x18\x01 \x01(\x08H\x00R\tboolParam\x12!\n\x0bint64_param\x18\x02"
    b" \x01(\x03H\x00R\nint64Param\x12#\n\x0cstring_param\x18\x03 \x01(\t"
    b"H\x00R\x0bstringParam\x12#\n\x0cdouble_param\x18\x04 \x01(\x01H\x00R"
    b"\x0bdoubleParam\x12#\n\x0cuint64_param\x18\x05 \x01(\x04H\x00R\x0bui"
    b'nt64ParamB\x12\n\x10parameter_choice"\xc3\x02\n\x13InferT'
    b"ensorContents\x12#\n\rbool_contents\x18\x01 \x03(\x08R\x0cbo"
    b"olContents\x12!\n\x0cint_contents\x18\x02 \x03(\x05R\x0bintCon"
    b"tents\x12%\n\x0eint64_contents\x18\x03 \x03(\x03R\rint64Cont"
    b"ents\x12#\n\ruint_contents\x18\x04 \x03(\rR\x0cuintContent"
    b"s\x12'\n\x0fuint64_contents\x18\x05 \x03(\x04R\x0euint64Conten"
    b"ts\x12#\n\rfp32_contents\x18\x06 \x03(\x02R\x0cfp32Contents\x12"
    b"#\n\rfp64_contents\x18\x07 \x03(\x01R\x0cfp64Contents\x12%\n\x0e"
    b'bytes_contents\x18\x08 \x03(\x0cR\rbytesContents"\x9d\x08\n\x11'
    b"ModelInferRequest\x12\x1d\n\nmodel_name\x18\x01 \x01(\tR\tm"
    b"odelName\x12#\n\rmodel_version\x18\x02 \x01(\tR\x0cmodelVe"
    b"rsion\x12\x0e\n\x02id\x18\x03 \x01(\tR\x02id\x12L\n\nparameters\x18\x04 \x03("
    b"\x0b2,.inference.ModelInferRequest.Paramete"
    b"rsEntryR\nparameters\x12E\n\x06inputs\x18\x05 \x03(\x0b2-.in"
    b"ference.ModelInferRequest.InferInputTens"
    b"orR\x06inputs\x12Q\n\x07outputs\x18\x06 \x03(\x0b27.inference."
    b"ModelInferRequest.InferRequestedOutputTe"
    b"nsorR\x07outputs\x12,\n\x12raw_input_contents\x18\x07 \x03("
    b"\x0cR\x10rawInputContents\x1a\xcd\x02\n\x10InferInputTensor"
    b"\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x1a\n\x08datatype\x18\x02 \x01(\tR\x08"
    b"datatype\x12\x14\n\x05shape\x18\x03 \x03(\x03R\x05shape\x12]\n\nparame"
    b"ters\x18\x04 \x03(\x0b2=.inference.ModelInferRequest"
    b".InferInputTensor.ParametersEntryR\nparam"
    b"eters\x12:\n\x08contents\x18\x05 \x01(\x0b2\x1e.inference.Infe"
    b"rTensorContentsR\x08contents\x1aX\n\x0fParametersE"
    b"ntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12/\n\x05value\x18\x02 \x01(\x0b2\x19."
    b"inference.InferParameterR\x05value:\x028\x01\x1a\xf3\x01\n\x1a"
    b"InferRequestedOutputTensor\x12\x12\n\x04name\x18\x01 \x01(\t"
    b"R\x04name\x12g\n\nparameters\x18\x02 \x03(\x0b2G.inference.M"
    b"odelInferRequest.InferRequestedOutputTen"
    b"sor.ParametersEntryR\nparameters\x1aX\n\x0fParam"
    b"etersEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12/\n\x05value\x18\x02 "
    b"\x01(\x0b2\x19.inference.InferParameterR\x05value:\x028"
    b"\x01\x1aX\n\x0fParametersEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12/"
    b"\n\x05value\x18\x02 \x01(\x0b2\x19.inference.InferParameter"
    b'R\x05value:\x028\x01"\xdf\x05\n\x12ModelInferResponse\x12\x1d\n\nmo'
    b"del_name\x18\x01 \x01(\tR\tmodelName\x12#\n\rmodel_versi"
    b"on\x18\x02 \x01(\tR\x0cmodelVersion\x12\x0e\n\x02id\x18\x03 \x01(\tR\x02id\x12M"
    b"\n\nparameters\x18\x04 \x03(\x0b2-.inference.ModelInfe"
    b"rResponse.ParametersEntryR\nparameters\x12I\n"
    b"\x07outputs\x18\x05 \x03(\x0b2/.inference.ModelInferRes"
    b"ponse.InferOutputTensorR\x07outputs\x12.\n\x13raw_"
    b"output_contents\x18\x06 \x03(\x0cR\x11rawOutputContents"
    b"\x1a\xd0\x02\n\x11InferOutputTensor\x12\x12\n\x04name\x18\x01 \x01(\tR\x04na"
    b"me\x12\x1a\n\x08datatype\x18\x02 \x01(\tR\x08datatype\x12\x14\n\x05shape\x18"
    b"\x03 \x03(\x03R\x05shape\x12_\n\nparameters\x18\x04 \x03(\x0b2?.infer"
    b"ence.ModelInferResponse.InferOutputTenso"
    b"r.ParametersEntryR\nparameters\x12:\n\x08content"
    b"s\x18\x05 \x01(\x0b2\x1e.inference.InferTensorContentsR"
    b"\x08contents\x1aX\n\x0fParametersEntry\x12\x10\n\x03key\x18\x01 \x01("
    b"\tR\x03key\x12/\n\x05value\x18\x02 \x01(\x0b2\x19.inference.InferP"
    b"arameterR\x05value:\x028\x01\x1aX\n\x0fParametersEntry\x12\x10"
    b"\n\x03key\x18\x01 \x01(\tR\x03key\x12/\n\x05value\x18\x02 \x01(\x0b2\x19.infere"
    b'nce.InferParameterR\x05value:\x028\x01"\x85\x01\n\x18ModelS'
    b"treamInferResponse\x12#\n\rerror_message\x18\x01 \x01("
    b"\tR\x0cerrorMessage\x12D\n\x0einfer_response\x18\x02 \x01(\x0b2"
    b"\x1d.inference.ModelInferResponseR\rinferRes"
    b'ponse"B\n\x12ModelConfigRequest\x12\x12\n\x04name\x18\x01 \x01('
    b'\tR\x04name\x12\x18\n\x07version\x18\x02 \x01(\tR\x07version"E\n\x13Mod'
    b"elConfigResponse\x12.\n\x06config\x18\x01 \x01(\x0b2\x16.infer"
    b'ence.ModelConfigR\x06config"9\n\x11StatisticDur'
    b"ation\x12\x14\n\x05count\x18\x01 \x01(\x04R\x05count\x12\x0e\n\x02ns\x18\x02 \x01(\x04R"
    b'\x02ns"\xf2\x03\n\x0fInferStatistics\x126\n\x07success\x18\x01 \x01(\x0b'
    b"2\x1c.inference.StatisticDurationR\x07success\x12"
    b"0\n\x04fail\x18\x02 \x01(\x0b2\x1c.inference.StatisticDurat"
    b"ionR\x04fail\x122\n\x05queue\x18\x03 \x01(\x0b2\x1c.inference.Sta"
    b"tisticDurationR\x05queue\x12A\n\rcompute_input\x18\x04"
    b" \x01(\x0b2\x1c.inference.StatisticDurationR\x0ccomp"
    b"uteInput\x12A\n\rcompute_infer\x18\x05 \x01(\x0b2\x1c.infere"
    b"nce.StatisticDurationR\x0ccomputeInfer\x12C\n\x0ec"
    b"ompute_output\x18\x06 \x01(\x0b2\x1c.inference.Statisti"
    b"cDurationR\rcomputeOutput\x129\n\tcache_hit\x18\x07 "
    b"\x01(\x0b2\x1c.inference.StatisticDurationR\x08cache"
    b"Hit\x12;\n\ncache_miss\x18\x08 \x01(\x0b2\x1c.inference.Stat"
    b'isticDurationR\tcacheMiss"\x86\x03\n\x17InferRespon'
    b"seStatistics\x12A\n\rcompute_infer\x18\x01 \x01(\x0b2\x1c.in"
    b"ference.StatisticDurationR\x0ccomputeInfer\x12"
    b"C\n\x0ecompute_output\x18\x02 \x01(\x0b2\x1c.inference.Stat"
    b"isticDurationR\rcomputeOutput\x126\n\x07success\x18"
    b"\x03 \x01(\x0b2\x1c.inference.StatisticDurationR\x07suc"
    b"cess\x120\n\x04fail\x18\x04 \x01(\x0b2\x1c.inference.Statistic"
    b"DurationR\x04fail\x12C\n\x0eempty_response\x18\x05 \x01(\x0b2\x1c"
    b".inference.StatisticDurationR\remptyRespo"
    b"nse\x124\n\x06cancel\x18\x06 \x01(\x0b2\x1c.inference.Statisti"
    b'cDurationR\x06cancel"\x80\x02\n\x14InferBatchStatisti'
    b"cs\x12\x1d\n\nbatch_size\x18\x01 \x01(\x04R\tbatchSize\x12A\n\rcom"
    b"pute_input\x18\x02 \x01(\x0b2\x1c.inference.StatisticDu"
    b"rationR\x0ccomputeInput\x12A\n\rcompute_infer\x18\x03 "
    b"\x01(\x0b2\x1c.inference.StatisticDurationR\x0ccompu"
    b"teInfer\x12C\n\x0ecompute_output\x18\x04 \x01(\x0b2\x1c.infere"
    b'nce.StatisticDurationR\rcomputeOutput"N\n\x0b'
    b"MemoryUsage\x12\x12\n\x04type\x18\x01 \x01(\tR\x04type\x12\x0e\n\x02id\x18\x02 "
    b'\x01(\x03R\x02id\x12\x1b\n\tbyte_size\x18\x03 \x01(\x04R\x08byteSize"\xb6\x04\n'
    b"\x0fModelStatistics\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x18\n\x07"
    b"version\x18\x02 \x01(\tR\x07version\x12%\n\x0elast_inference"
    b"\x18\x03 \x01(\x04R\rlastInference\x12'\n\x0finference_count"
    b"\x18\x04 \x01(\x04R\x0einferenceCount\x12'\n\x0fexecution_coun"
    b"t\x18\x05 \x01(\x04R\x0eexecutionCount\x12C\n\x0finference_sta"
    b"ts\x18\x06 \x01(\x0b2\x1a.inference.InferStatisticsR\x0ein"
    b"ferenceStats\x12@\n\x0bbatch_stats\x18\x07 \x03(\x0b2\x1f.infe"
    b"rence.InferBatchStatisticsR\nbatchStats\x129"
    b"\n\x0cmemory_usage\x18\x08 \x03(\x0b2\x16.inference.MemoryU"
    b"sageR\x0bmemoryUsage\x12T\n\x0eresponse_stats\x18\t \x03("
    b"\x0b2-.inference.ModelStatistics.ResponseSt"
    b"atsEntryR\rresponseStats\x1ad\n\x12ResponseStats"
    b'Entry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x128\n\x05value\x18\x02 \x01(\x0b2"'
    b".inference.InferResponseStatisticsR\x05valu"
    b'e:\x028\x01"F\n\x16ModelStatisticsRequest\x12\x12\n\x04name\x18'
    b'\x01 \x01(\tR\x04name\x12\x18\n\x07version\x18\x02 \x01(\tR\x07version"V\n'
    b"\x17ModelStatisticsResponse\x12;\n\x0bmodel_stats\x18"
    b"\x01 \x03(\x0b2\x1a.inference.ModelStatisticsR\nmodel"
    b'Stats"\xba\x01\n\x18ModelRepositoryParameter\x12\x1f\n\nbo'
    b"ol_param\x18\x01 \x01(\x08H\x00R\tboolParam\x12!\n\x0bint64_par"
    b"am\x18\x02 \x01(\x03H\x00R\nint64Param\x12#\n\x0cstring_param\x18\x03"
    b" \x01(\tH\x00R\x0bstringParam\x12!\n\x0bbytes_param\x18\x04 \x01(\x0c"
    b'H\x00R\nbytesParamB\x12\n\x10parameter_choice"W\n\x16Re'
    b"positoryIndexRequest\x12'\n\x0frepository_name\x18"
    b"\x01 \x01(\tR\x0erepositoryName\x12\x14\n\x05ready\x18\x02 \x01(\x08R\x05re"
    b'ady"\xca\x01\n\x17RepositoryIndexResponse\x12E\n\x06model'
    b"s\x18\x01 \x03(\x0b2-.inference.RepositoryIndexRespo"
    b"nse.ModelIndexR\x06models\x1ah\n\nModelIndex\x12\x12\n\x04"
    b"name\x18\x01 \x01(\tR\x04name\x12\x18\n\x07version\x18\x02 \x01(\tR\x07versi"
    b"on\x12\x14\n\x05state\x18\x03 \x01(\tR\x05state\x12\x16\n\x06reason\x18\x04 \x01(\t"
    b'R\x06reason"\x9f\x02\n\x1aRepositoryModelLoadRequest\x12'
    b"'\n\x0frepository_name\x18\x01 \x01(\tR\x0erepositoryName"
    b"\x12\x1d\n\nmodel_name\x18\x02 \x01(\tR\tmodelName\x12U\n\nparam"
    b"eters\x18\x03 \x03(\x0b25.inference.RepositoryModelL"
    b"oadRequest.ParametersEntryR\nparameters\x1ab"
    b"\n\x0fParametersEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x129\n\x05v"
    b"alue\x18\x02 \x01(\x0b2#.inference.ModelRepositoryPa"
    b'rameterR\x05value:\x028\x01"\x1d\n\x1bRepositoryModelLoa'
    b'dResponse"\xa3\x02\n\x1cRepositoryModelUnloadReque'
    b"st\x12'\n\x0frepository_name\x18\x01 \x01(\tR\x0erepositoryN"
    b"ame\x12\x1d\n\nmodel_name\x18\x02 \x01(\tR\tmodelName\x12W\n\npa"
    b"rameters\x18\x03 \x03(\x0b27.inference.RepositoryMod"
    b"elUnloadRequest.ParametersEntryR\nparamet"
    b"ers\x1ab\n\x0fParametersEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key"
    b"\x129\n\x05value\x18\x02 \x01(\x0b2#.inference.ModelReposit"
    b'oryParameterR\x05value:\x028\x01"\x1f\n\x1dRepositoryMod'
    b'elUnloadResponse"5\n\x1fSystemSharedMemorySt'
    b'atusRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name"\xd7\x02\n Syst'
    b"emSharedMemoryStatusResponse\x12R\n\x07regions\x18"
    b"\x01 \x03(\x0b28.inference.SystemSharedMemoryStat"
    b"usResponse.RegionsEntryR\x07regions\x1ai\n\x0cRegi"
    b"onStatus\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x10\n\x03key\x18\x02 \x01("
    b"\tR\x03key\x12\x16\n\x06offset\x18\x03 \x01(\x04R\x06offset\x12\x1b\n\tbyte_s"
    b"ize\x18\x04 \x01(\x04R\x08byteSize\x1at\n\x0cRegionsEntry\x12\x10\n\x03k"
    b"ey\x18\x01 \x01(\tR\x03key\x12N\n\x05value\x18\x02 \x01(\x0b28.inference"
    b".SystemSharedMemoryStatusResponse.Region"
    b'StatusR\x05value:\x028\x01"~\n!SystemSharedMemoryR'
    b"egisterRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x10\n\x03ke"
    b"y\x18\x02 \x01(\tR\x03key\x12\x16\n\x06offset\x18\x03 \x01(\x04R\x06offset\x12\x1b\n\t"
    b'byte_size\x18\x04 \x01(\x04R\x08byteSize"$\n"SystemShare'
    b'dMemoryRegisterResponse"9\n#SystemSharedM'
    b"emoryUnregisterRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04na"
    b'me"&\n$SystemSharedMemoryUnregisterRespon'
    b'se"3\n\x1dCudaSharedMemoryStatusRequest\x12\x12\n\x04n'
    b'ame\x18\x01 \x01(\tR\x04name"\xc4\x02\n\x1eCudaSharedMemoryStat'
    b"usResponse\x12P\n\x07regions\x18\x01 \x03(\x0b26.inference."
    b"CudaSharedMemoryStatusResponse.RegionsEn"
    b"tryR\x07regions\x1a\\\n\x0cRegionStatus\x12\x12\n\x04name\x18\x01 \x01"
    b"(\tR\x04name\x12\x1b\n\tdevice_id\x18\x02 \x01(\x04R\x08deviceId\x12\x1b\n"
    b"\tbyte_size\x18\x03 \x01(\x04R\x08byteSize\x1ar\n\x0cRegionsEnt"
    b"ry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12L\n\x05value\x18\x02 \x01(\x0b26.in"
    b"ference.CudaSharedMemoryStatusResponse.R"
    b'egionStatusR\x05value:\x028\x01"\x8e\x01\n\x1fCudaSharedMem'
    b"oryRegisterRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x1d"
    b"\n\nraw_handle\x18\x02 \x01(\x0cR\trawHandle\x12\x1b\n\tdevice_"
    b"id\x18\x03 \x01(\x03R\x08deviceId\x12\x1b\n\tbyte_size\x18\x04 \x01(\x04R\x08b"
    b'yteSize""\n CudaSharedMemoryRegisterRespo'
    b'nse"7\n!CudaSharedMemoryUnregisterRequest'
    b'\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name"$\n"CudaSharedMemory'
    b'UnregisterResponse"\x8e\x02\n\x13TraceSettingReque'
    b"st\x12H\n\x08settings\x18\x01 \x03(\x0b2,.inference.TraceSe"
    b"ttingRequest.SettingsEntryR\x08settings\x12\x1d\n\n"
    b"model_name\x18\x02 \x01(\tR\tmodelName\x1a$\n\x0cSettingVa"
    b"lue\x12\x14\n\x05value\x18\x01 \x03(\tR\x05value\x1ah\n\rSettingsEnt"
    b"ry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12A\n\x05value\x18\x02 \x01(\x0b2+.in"
    b"ference.TraceSettingRequest.SettingValue"
    b'R\x05value:\x028\x01"\xf2\x01\n\x14TraceSettingResponse\x12I\n\x08'
    b"settings\x18\x01 \x03(\x0b2-.inference.TraceSettingR"
    b"esponse.SettingsEntryR\x08settings\x1a$\n\x0cSetti"
    b"ngValue\x12\x14\n\x05value\x18\x01 \x03(\tR\x05value\x1ai\n\rSetting"
    b"sEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12B\n\x05value\x18\x02 \x01(\x0b2"
    b",.inference.TraceSettingResponse.Setting"
    b'ValueR\x05value:\x028\x01"\xd6\x02\n\x12LogSettingsRequest\x12'
    b"G\n\x08settings\x18\x01 \x03(\x0b2+.inference.LogSetting"
    b"sRequest.SettingsEntryR\x08settings\x1a\x8d\x01\n\x0cSet"
    b"tingValue\x12\x1f\n\nbool_param\x18\x01 \x01(\x08H\x00R\tboolPar"
    b"am\x12#\n\x0cuint32_param\x18\x02 \x01(\rH\x00R\x0buint32Param\x12"
    b"#\n\x0cstring_param\x18\x03 \x01(\tH\x00R\x0bstringParamB\x12\n\x10"
    b"parameter_choice\x1ag\n\rSettingsEntry\x12\x10\n\x03key"
    b"\x18\x01 \x01(\tR\x03key\x12@\n\x05value\x18\x02 \x01(\x0b2*.inference.L"
    b"ogSettingsRequest.SettingValueR\x05value:\x028"
    b'\x01"\xd9\x02\n\x13LogSettingsResponse\x12H\n\x08settings\x18\x01 '
    b"\x03(\x0b2,.inference.LogSettingsResponse.Sett"
    b"ingsEntryR\x08settings\x1a\x8d\x01\n\x0cSettingValue\x12\x1f\n\n"
    b"bool_param\x18\x01 \x01(\x08H\x00R\tboolParam\x12#\n\x0cuint32_"
    b"param\x18\x02 \x01(\rH\x00R\x0buint32Param\x12#\n\x0cstring_par"
    b"am\x18\x03 \x01(\tH\x00R\x0bstringParamB\x12\n\x10parameter_cho"
    b"ice\x1ah\n\rSettingsEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12A"
    b"\n\x05value\x18\x02 \x01(\x0b2+.inference.LogSettingsRes"
    b"ponse.SettingValueR\x05value:\x028\x012\xb7\x0f\n\x14GRPCIn"
    b"ferenceService\x12K\n\nServerLive\x12\x1c.inference"
    b".ServerLiveRequest\x1a\x1d.inference.ServerLiv"
    b'eResponse"\x00\x12N\n\x0bServerReady\x12\x1d.inference.S'
    b"erverReadyRequest\x1a\x1e.inference.ServerRead"
    b'yResponse"\x00\x12K\n\nModelReady\x12\x1c.inference.Mo'
    b"delReadyRequest\x1a\x1d.inference.ModelReadyRe"
    b'sponse"\x00\x12W\n\x0eServerMetadata\x12 .inference.S'
    b"erverMetadataRequest\x1a!.inference.ServerM"
    b'etadataResponse"\x00\x12T\n\rModelMetadata\x12\x1f.inf'
    b"erence.ModelMetadataRequest\x1a .inference."
    b'ModelMetadataResponse"\x00\x12K\n\nModelInfer\x12\x1c.'
    b"inference.ModelInferRequest\x1a\x1d.inference."
    b'ModelInferResponse"\x00\x12[\n\x10ModelStreamInfer'
    b"\x12\x1c.inference.ModelInferRequest\x1a#.inferen"
    b'ce.ModelStreamInferResponse"\x00(\x010\x01\x12N\n\x0bMod'
    b"elConfig\x12\x1d.inference.ModelConfigRequest\x1a"
    b'\x1e.inference.ModelConfigResponse"\x00\x12Z\n\x0fMod'
    b"elStatistics\x12!.inference.ModelStatistics"
    b'Request\x1a".inference.ModelStatisticsRespo'
    b'nse"\x00\x12Z\n\x0fRepositoryIndex\x12!.inference.Rep'
    b'ositoryIndexRequest\x1a".inference.Reposito'
    b'ryIndexResponse"\x00\x12f\n\x13RepositoryModelLoad'
    b"\x12%.inference.RepositoryModelLoadRequest\x1a"
    b'&.inference.RepositoryModelLoadResponse"'
    b"\x00\x12l\n\x15RepositoryModelUnload\x12'.inference.R"
    b"epositoryModelUnloadRequest\x1a(.inference."
    b'RepositoryModelUnloadResponse"\x00\x12u\n\x18Syste'
    b"mSharedMemoryStatus\x12*.inference.SystemSh"
    b"aredMemoryStatusRequest\x1a+.inference.Syst"
    b'emSharedMemoryStatusResponse"\x00\x12{\n\x1aSystem'
    b"SharedMemoryRegister\x12,.inference.SystemS"
    b"haredMemoryRegisterRequest\x1a-.inference.S"
    b'ystemSharedMemoryRegisterResponse"\x00\x12\x81\x01\n\x1c'
    b"SystemSharedMemoryUnregister\x12..inference"
    b".SystemSharedMemoryUnregisterRequest\x1a/.i"
    b"nference.SystemSharedMemoryUnregisterRes"
    b'ponse"\x00\x12o\n\x16CudaSharedMemoryStatus\x12(.infe'
    b"rence.CudaSharedMemoryStatusRequest\x1a).in"
    b'ference.CudaSharedMemoryStatusResponse"\x00'
    b"\x12u\n\x18CudaSharedMemoryRegister\x12*.inference"
    b".CudaSharedMemoryRegisterRequest\x1a+.infer"
    b'ence.CudaSharedMemoryRegisterResponse"\x00\x12'
    b"{\n\x1aCudaSharedMemoryUnregister\x12,.inferenc"
    b"e.CudaSharedMemoryUnregisterRequest\x1a-.in"
    b"ference.CudaSharedMemoryUnregisterRespon"
    b'se"\x00\x12Q\n\x0cTraceSetting\x12\x1e.inference.TraceSe'
    b"ttingRequest\x1a\x1f.inference.TraceSettingRes"
    b'ponse"\x00\x12N\n\x0bLogSettings\x12\x1d.inference.LogSe'
    b"ttingsRequest\x1a\x1e.inference.LogSettingsRes"
    b'ponse"\x00b\x06proto3'
)
globals().update(_names)
