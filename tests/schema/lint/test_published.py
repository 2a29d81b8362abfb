"""What is wrong in published configs is found where it is, and nothing is said of the others."""

from pathlib import Path

from tests.published import FOLDER, PATHS, named
from vacc_gen.presets import KNOWN
from vacc_gen.schema.lint.check import check_paths

FAULTS = {
    ("cv/classification/mobilenet_v3/sqlai_mobilenetv3.yaml", 22, "VG101"),
    ("cv/classification/pplcnet_textline_ori/pplcnet_textline_ori.yaml", 1, "VG201"),
    ("cv/classification/resnet/keras_resnet.yaml", 37, "VG509"),
    ("cv/classification/vgg/timm_vgg.yaml", 24, "VG110"),
    ("cv/detection/detr/official_detr.yaml", 19, "VG705"),
    ("cv/detection/rtdetr/official_rtdetr.yaml", 25, "VG501"),
    ("cv/detection/yolov12/official_yolov12_int8.yaml", 47, "VG405"),
    ("cv/detection/yolov12/official_yolov12_int8.yaml", 59, "VG110"),
    ("cv/face_alignment/hrnet_face_alignment/official_hrnet.yaml", 1, "VG251"),
    ("cv/face_alignment/hrnet_face_alignment/official_hrnet.yaml", 29, "VG503"),
    ("cv/face_alignment/pfld/official_pfld.yaml", 29, "VG503"),
    ("cv/face_detection/scrfd/official_scrfd.yaml", 40, "VG106"),
    ("cv/mot/fairmot/official_fairmot.yaml", 32, "VG504"),
    ("cv/mot/jde/pytorch_jde.yaml", 34, "VG111"),
    ("cv/segmentation/unet/keras_unet.yaml", 34, "VG109"),
    ("cv/super_resolution/sparnet/config.yaml", 20, "VG106"),
    ("cv/super_resolution/sparnet/config.yaml", 32, "VG111"),
    ("cv/text_recognition/cnn_ctc/config.yaml", 41, "VG111"),
    ("llm/qwen1.5/hf_qwen1.5_int8.yaml", 1, "VG251"),
    ("llm/qwen1.5/hf_qwen1.5_int8.yaml", 4, "VG205"),
    ("nlp/named_entity_recognition/bert/huggingface/huggingface_bert_ner_fp16.yaml", 1, "VG250"),
    ("nlp/named_entity_recognition/bert/huggingface/huggingface_bert_ner_int8.yaml", 1, "VG250"),
    ("nlp/question_answering/bert/tensorflow/tensorflow_bert_base_en_qa-384.yaml", 1, "VG101"),
    (
        "nlp/sentence_classification/xlmroberta/huggingface/huggingface_xlmroberta_cls.yaml",
        31,
        "VG508",
    ),
    ("nlp/text2vec/bce/embedding_config_fp16.yaml", 1, "VG201"),
    ("nlp/text2vec/bce/embedding_config_int8.yaml", 21, "VG405"),
    ("tools/vamc/vamc_config.yaml", 11, "VG102"),
    ("vlm/qwen2_vl/qwen2_vl_visual.yaml", 26, "VG750"),
}


def test_every_fault_is_found_at_its_line_and_nothing_else_is_said():
    result = check_paths([str(FOLDER)], KNOWN)
    assert result.checked == len(PATHS)
    assert result.unreadable == []
    assert {(named(Path(one.path)), one.line, one.code) for one in result.diagnostics} == FAULTS
